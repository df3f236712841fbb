export type { BlockSize, Disk } from './disks/disk.js';
export { memoryDisk } from './disks/memory-disk.js';
export type { Build } from './kernel/build.js';
export type { DmaFault } from './kernel/log.js';
export type { IommuFacts, Parameters } from './kernel/machine.js';
export type { KernelVersion } from './kernel/version.js';
export type {
  BarDescription,
  DeviceBus,
  DeviceFactory,
  DeviceModel,
  FunctionDescription,
  Width,
} from './model/contract.js';
export { type CapabilityBytes, type EndpointOptions, endpoint, ioBar, memoryBar } from './model/endpoint.js';
export { edu } from './models/edu.js';
export {
  type CommandFault,
  type NvmeController,
  type NvmeFaults,
  type NvmeOptions,
  nvmeController,
} from './models/nvme/index.js';
export type {
  BystanderOption,
  CapabilityOptions,
  DeviceOption,
  DevicePlace,
  ModuleOptions,
  SimulationOptions,
} from './options.js';
export type { SimulatedDevice } from './simulated-device.js';
export { type IommuMapping, type Simulation, simulation } from './simulation.js';
