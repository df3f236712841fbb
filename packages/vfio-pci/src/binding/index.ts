export { type BindResult, bind, unbind } from './bind.js';
export { type HostUse, hostUsage } from './host-usage.js';
export { type BindOptions, type BindPlan, type BindStep, bindPlan, type UnbindOptions, unbindPlan } from './plan.js';
