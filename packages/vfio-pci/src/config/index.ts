export { type Capability, ConfigSpace } from './config-space.js';
export { readConfig } from './read-config.js';
