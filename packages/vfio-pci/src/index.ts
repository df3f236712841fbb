export * from './binding/index.js';
export * from './config/index.js';
export { type CommandSwitch, PciDevice } from './device.js';
export * from './discovery/index.js';
export * from './layouts/index.js';
export { Region, type WindowAccess } from './region.js';
export * from './registers/index.js';
