/**
 * iommufd and device files below the address spaces, as cases: the same run on the simulation and on a real kernel. The errnos that they
 * wait for are those of the numbered behaviours.
 */

import type { IommufdCase } from './bench.js';
import { deviceFiles } from './device-files.js';
import { mapping } from './mapping.js';
import { tracking } from './tracking.js';

export type { IommufdBench, IommufdCase } from './bench.js';

export const iommufdBehaviour: readonly IommufdCase[] = [...deviceFiles, ...mapping, ...tracking];
