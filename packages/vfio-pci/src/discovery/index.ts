export { type BarResource, devices, type FunctionGroup, findDevice, type PciFunction } from './devices.js';
