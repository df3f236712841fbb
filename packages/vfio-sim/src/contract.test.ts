import { describeSystemCalls } from '../../vfio-core/src/testing/system-calls-contract.js';
import { simulation } from './simulation.js';

describeSystemCalls('the simulation', () => simulation());
