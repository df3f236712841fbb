/** The simulation as target. */

import type { SystemCalls } from 'vfio-core';
import {
  type DevicePlace,
  edu,
  endpoint,
  memoryBar,
  memoryDisk,
  nvmeController,
  type Simulation,
  type SimulationOptions,
  simulation,
} from 'vfio-sim';
import type { Variant } from './item.js';
import { atLeast, type Version } from './kernel.js';
import type { Target } from './run.js';
import { type Heir, machine, World } from './world.js';

/** The kernels that are simulated: the seed, those of the lab, and the newest that was read. */
export const simulatedKernels: readonly Version[] = ['seed', '6.1', '6.12', '7.3'];

/** The bridge that stands above every device of such a machine. */
const rootPort = { address: '0000:00:1c.0', driver: 'pcieport', class: 0x060400 } as const;

const emptyPort = { address: machine.port, driver: 'pcieport', class: 0x060400 } as const;

/** A function that is only there, without a driver. */
const plain = (vendor: number, device: number, classCode: number): DevicePlace => ({
  driver: null,
  model: () => ({
    config: endpoint({ vendor, device, class: classCode, bars: [memoryBar(4096)] }),
    read: () => 0,
    write: () => {},
    reset: () => {},
  }),
});

/** Module parameters from what stands behind `insmod`. */
const parameters = (given: Readonly<Record<string, string>>): Record<string, string | boolean> =>
  Object.fromEntries(Object.entries(given).map(([name, value]) => [name, name === 'ids' ? value : value === 'Y']));

function options(version: Version, variant: Variant): SimulationOptions {
  const rights = variant.rights ?? 'all';
  const disk = () => nvmeController({ disks: [memoryDisk(1 << 20)] });
  const [first, second] = machine.pair;
  const driver = variant.pairBridge;
  const none = variant.vfioPci === undefined ? {} : ({ driver: null } as const);
  const inPair = driver === undefined ? [] : [{ address: '0000:02:00.7', driver, class: 0x060400 }];
  return {
    kernel: version,
    devices: {
      [machine.edu]: { model: edu(), ...none },
      [first]: { model: edu(), ...none },
      [second]: { model: disk(), ...none },
      [machine.nvme]: { model: disk(), ...none, ...(variant.mode === 'mixed' && { iommu: false }) },
      [machine.vga]: plain(0x1234, 0x1111, 0x030000),
      [machine.sriov]: { model: disk(), driver: null, virtualFunctions: 4 },
      [machine.qat]: plain(0x8086, 0x19e2, 0x0b4000),
    },
    capabilities: {
      ipcLock: rights !== 'no CAP_IPC_LOCK',
      sysRawio: rights !== 'no CAP_SYS_RAWIO',
      sysResource: rights !== 'no CAP_SYS_RESOURCE',
    },
    ...(variant.needs && { iommufd: variant.needs === 'iommufd' ? true : 'container' }),
    ...(variant.memlock === undefined ? {} : { memlock: variant.memlock }),
    modules: {
      ...(variant.vfioPci && { vfio_pci: parameters(variant.vfioPci) }),
      ...(variant.withoutType1 && { vfio_iommu_type1: 'not loaded' }),
      ...(variant.mode === 'mixed' && { vfio: { enable_unsafe_noiommu_mode: true } }),
    },
    ...(variant.mode === 'noiommu'
      ? { noiommu: true, groups: { 6: [rootPort, emptyPort] } }
      : {
          iommu: {
            ...variant.iommu,
            interruptRemapping: variant.mode !== 'no remapping',
            coherent: !variant.noncoherent,
          },
          groups: {
            6: [rootPort, emptyPort],
            7: [machine.edu],
            8: [first, second, ...inPair],
            ...(variant.mode === 'mixed' ? {} : { 9: [machine.nvme] }),
          },
        }),
  };
}

/** A process without CAP_SYS_RAWIO: the simulated one, while it has given that right up. */
function heirOf(sim: Simulation, system: SystemCalls, variant: Variant): Heir {
  const without = (call: () => number): number => {
    sim.grant({ sysRawio: false });
    const result = call();
    sim.grant({ sysRawio: variant.rights !== 'no CAP_SYS_RAWIO' });
    return result;
  };
  return {
    open: (path) =>
      without(() => {
        const fd = system.open(path, 2);
        return fd < 0 ? fd : system.close(fd);
      }),
    ioctl: (fd, request, argument) =>
      without(() =>
        typeof argument === 'object' && 'fd' in argument
          ? system.ioctl(fd, request, new Uint8Array(4), { fds: [{ at: 0, fd: argument.fd }] })
          : system.ioctl(fd, request, argument),
      ),
  };
}

/**
 * A simulated kernel. `change` may put itself between the items and the simulation: so it is shown that an item fails when a
 * rule is broken.
 */
export function simulationTarget(
  version: Version,
  change: (system: SystemCalls) => SystemCalls = (same) => same,
): Target {
  return {
    name: `simulation ${version}`,
    kind: 'simulation',
    version,
    modes: ['iommu', 'no remapping', 'noiommu', 'mixed'],
    rights: ['all', 'no CAP_IPC_LOCK', 'no CAP_SYS_RAWIO', 'no CAP_SYS_RESOURCE'],
    has: atLeast(version, '6.2') ? ['iommufd', 'iommufd as container'] : [],
    world: (variant) => {
      const sim = simulation(options(version, variant));
      const system = change(sim);
      const ending = new World(system, {
        version,
        name: `simulation ${version}`,
        readOnlyAddress: 0x5000_0000,
        locked: () => sim.lockedBytes,
        limitLocked: (bytes) => sim.limitLocked(bytes),
        openElsewhere: (path) => {
          const fd = sim.open(path, 2);
          if (fd >= 0) sim.close(fd);
          return Math.min(fd, 0);
        },
        heir: heirOf(sim, system, variant),
        log: () => sim.log,
        unbindElsewhere: (address) => {
          sim.writeFile(`/sys/bus/pci/devices/${address}/driver/unbind`, address);
          const { driver } = sim.device(address);
          return {
            done: () => sim.device(address).driver !== driver || driver === undefined,
            signal: () => sim.device(address).signalUnbind(),
          };
        },
        killHolder: async (_fds, meanwhile) => {
          meanwhile();
          sim.endProcess('kill');
        },
        duringReset: async (address, attempt) => sim.device(address).whileLocked(attempt),
        linkError: (address, fatal) => sim.device(address).reportError({ fatal }),
        settle: () => {},
      });
      return Object.assign(ending, { end: () => sim.powerOff() });
    },
  };
}

/** A backend whose ioctl answers otherwise where `rule` says so; `undefined` leaves the answer. */
export function withIoctl(
  system: SystemCalls,
  rule: (request: number, argument: number | Uint8Array | undefined, answer: () => number) => number | undefined,
): SystemCalls {
  return new Proxy(system, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (name === 'ioctl') {
        return (fd: number, request: number, argument?: number | Uint8Array, places?: object): number => {
          const answer = () => target.ioctl(fd, request, argument, places);
          return rule(request, argument, answer) ?? answer();
        };
      }
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
