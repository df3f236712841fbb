import { changed, item, type Section } from '../src/item.js';
import { E, machine, type World } from '../src/world.js';
import { hostLife } from './life-host.js';

const { edu, nvme, pair } = machine;

/** Offset of COMMAND, and its bits. */
const COMMAND = 4;
const [MEMORY, BUS_MASTER, DISABLE_INTX] = [2, 4, 0x400];
/** Capability ids. */
const [PM, MSI, MSIX] = [1, 5, 0x11];
/** Interrupt indexes ERR and REQ. */
const [ERR, REQ] = [3, 4];
/** SET_IRQS: eventfds, to be signalled. */
const EVENTFD_TRIGGER = 0x24;

const command = (w: World, address: string): number => w.hardware(address).getUint16(COMMAND, true);
const power = (w: World, address: string): number => w.hardware(address).getUint8(w.capability(address, PM) + 4) & 3;
/** Whether the function gets to D3hot. */
const sleeps = (w: World, address: string): Promise<boolean> => w.until(() => power(w, address) === 3);

/** Register of an NVMe controller: its configuration, which every reset clears. */
const CC = 0x14;

/** Values that the device driver of the item before, or firmware, cannot have left. */
const MARK = 0x5a5a;

const noticeFd = (w: World, device: number, index: number): number => {
  const fd = w.eventfd();
  w.is(w.setIrqs(device, EVENTFD_TRIGGER, index, 0, 1, [fd]), 0, `SET_IRQS of index ${index}`);
  return fd;
};

/** What the eventfds of ERR and REQ count after their device was closed: an error, and an unbind under the next user. */
async function lateNotices(w: World): Promise<number[]> {
  const { group, device } = w.device(nvme);
  const [error, request] = [ERR, REQ].map((index) => noticeFd(w, device, index)) as [number, number];
  w.close(device);
  w.around.linkError(nvme, false);
  await w.system.sleep(1000);
  const next = w.ok(w.deviceFd(group, nvme), 'GET_DEVICE_FD again');
  const unbind = w.around.unbindElsewhere(nvme);
  await w.system.sleep(1000);
  w.close(next);
  w.is(await w.until(unbind.done), true, 'the unbind ends');
  return [w.system.eventfdRead(error), w.system.eventfdRead(request)];
}

const lines = (w: World, pattern: RegExp): number => w.around.log().filter((line) => pattern.test(line)).length;

/** Opens edu and begins to unbind it elsewhere. */
async function unbindWhileOpen(w: World) {
  const opened = w.device(edu);
  const unbind = w.around.unbindElsewhere(edu);
  w.is(await w.until(() => w.driverOf(edu) === undefined), true, 'the unbind begins');
  await w.system.sleep(500);
  w.is(unbind.done(), false, 'the unbind waits');
  return { ...opened, unbind };
}

export const life: Section = {
  name: 'LIFE',
  title: 'Life cycle',
  size: 20,
  items: [
    item(
      'LIFE-1',
      'The first open wakes the device to D0, clears bus mastering, switches memory on and tries a function reset, which gives the RESET flag; INTx can be masked.',
      async (w) => {
        w.is(await sleeps(w, nvme), true, 'asleep before');
        w.setHardware(nvme, COMMAND, command(w, nvme) | BUS_MASTER);
        const { device } = w.device(nvme);
        w.is(power(w, nvme), 0, 'D0');
        w.is(command(w, nvme) & (MEMORY | BUS_MASTER), MEMORY, 'memory on, bus mastering off');
        w.is(w.config(device, COMMAND, 2) & (MEMORY | BUS_MASTER | DISABLE_INTX), MEMORY, 'COMMAND of the user');
        w.is(w.deviceFlags(device) & 3, 3, 'PCI and RESET');
        w.is(w.irqFlags(device, 0), 7, 'flags of INTX');
      },
    ),
    item(
      'LIFE-2',
      'The open fails with EAGAIN where its reset cannot have the lock of the device.',
      async (w) => {
        const { group } = w.ready(nvme);
        const attempt = () => {
          const fd = w.deviceFd(group, nvme);
          if (fd >= 0) w.close(fd);
          return fd;
        };
        w.is(await w.around.duringReset(nvme, attempt), E.AGAIN, 'GET_DEVICE_FD during a reset');
        w.ok(attempt(), 'GET_DEVICE_FD after it');
      },
      { from: '4.14' },
    ),
    item(
      'LIFE-3',
      'The last close clears bus mastering, switches interrupts off, lets the BARs go, brings back the saved configuration and resets the function.',
      (w) => {
        const msix = w.capability(nvme, MSIX);
        const { device } = w.device(nvme);
        const cacheLine = w.hardware(nvme).getUint8(0x0c);
        const { window } = w.window(device, 0, 4096);
        w.setConfig(device, COMMAND, 2, MEMORY | BUS_MASTER);
        // The controller is switched on, with admin queues that it is never told to look at: QEMU's keeps what a reset clears only then.
        for (const [register, value] of [
          [0x24, 0x0003_0003],
          [0x28, 0x1_0000],
          [0x2c, 0],
          [0x30, 0x2_0000],
          [0x34, 0],
          [CC, 0x0046_0001],
        ] as const)
          window.write32(register, value);
        w.is(window.read32(CC), 0x0046_0001, 'controller configuration in use');
        w.setConfig(device, 0x0c, 1, cacheLine ^ 0x10);
        w.is(w.setIrqs(device, EVENTFD_TRIGGER, 2, 0, 1, [w.eventfd()]), 0, 'SET_IRQS of MSI-X');
        const used = w.hardware(nvme);
        w.is(used.getUint16(COMMAND, true) & BUS_MASTER, BUS_MASTER, 'bus mastering in use');
        w.is(used.getUint16(msix + 2, true) >>> 15, 1, 'MSI-X in use');
        w.is(used.getUint8(0x0c), cacheLine ^ 0x10, 'cache line size in use');
        w.closeAll();
        const after = w.hardware(nvme);
        w.is(after.getUint16(COMMAND, true) & BUS_MASTER, 0, 'bus mastering after');
        w.is(after.getUint16(msix + 2, true) >>> 15, 0, 'MSI-X after');
        w.is(after.getUint8(0x0c), cacheLine, 'cache line size after');
        const again = w.device(nvme);
        w.is(w.window(again.device, 0, 4096).window.read32(CC), 0, 'controller configuration after');
        w.closeAll();
        w.is(w.unbind(nvme), 0, 'unbind');
        w.is(w.bind(nvme, 'nvme'), 0, "the host's driver gets the BARs");
      },
    ),
    item(
      'LIFE-4',
      'Where no function reset works the whole bus is reset, once every function of it is bound to vfio-pci and closed.',
      (w) => {
        const [first, second] = pair;
        const data = w.capability(first, MSI) + 12;
        const mark = () => w.hardware(first).getUint16(data, true);
        const { group, device } = w.device(first);
        w.is(w.deviceFlags(device) & 1, 0, 'RESET');
        const other = w.ok(w.deviceFd(group, second), 'GET_DEVICE_FD of the second');
        w.setHardware(first, data, MARK);
        w.close(device);
        w.is(mark(), MARK, 'the second is open');
        w.close(other);
        w.is(mark(), 0, 'both are closed');

        w.is(w.unbind(second), 0, 'unbind of the second');
        const alone = w.ok(w.deviceFd(group, first), 'GET_DEVICE_FD of the first');
        w.setHardware(first, data, MARK);
        w.close(alone);
        w.is(mark(), MARK, 'the second has no driver');
        w.is(w.bind(second, 'vfio-pci'), 0, 'bind of the second');
        w.close(w.ok(w.deviceFd(group, first), 'GET_DEVICE_FD of the first again'));
        w.is(mark(), 0, 'both are bound');
      },
    ),
    changed(
      'LIFE-5',
      'A bound device that nobody has open is in D3hot, unless the parameter disable_idle_d3 is Y. From 6.1 that is runtime power management.',
      {
        run: async (w) => {
          w.is(await sleeps(w, nvme), true, 'asleep before');
          w.device(nvme);
          w.is(power(w, nvme), 0, 'awake while open');
          w.closeAll();
          w.is(await sleeps(w, nvme), true, 'asleep after');
          const status = w.system.readFile(`/sys/bus/pci/devices/${nvme}/power/runtime_status`);
          if (w.since('6.1')) w.is(status, 'suspended\n', 'runtime_status');
        },
      },
      {
        vfioPci: { disable_idle_d3: 'Y' },
        run: async (w) => {
          w.is(w.bind(nvme, 'vfio-pci'), 0, 'bind');
          w.device(nvme);
          w.closeAll();
          await w.system.sleep(1000);
          w.is(power(w, nvme), 0, 'awake after');
        },
      },
    ),
    item('LIFE-6', 'A process that dies is a close of everything.', async (w) => {
      const { container, group, device } = w.device(nvme);
      const memory = w.memory(4096);
      w.is(w.map(container, 0x10000n, memory.address, 4096), 0, 'MAP_DMA');
      w.setConfig(device, COMMAND, 2, MEMORY | BUS_MASTER);
      await w.killHolder([container, group, device], () => {
        w.is(w.open(w.groupPath(nvme)), E.BUSY, 'the group while the process lives');
        w.is(command(w, nvme) & BUS_MASTER, BUS_MASTER, 'bus mastering while the process lives');
      });
      w.is(command(w, nvme) & BUS_MASTER, 0, 'bus mastering after');
      w.device(nvme);
    }),
    changed(
      'LIFE-7',
      'From 5.8 the eventfds of ERR and REQ are dropped at the last close. Before, an error or an unbind still signals those of the user before.',
      { below: '5.8', run: async (w) => w.is(await lateNotices(w), [1, 1], 'ERR, REQ') },
      { from: '5.8', run: async (w) => w.is(await lateNotices(w), [E.AGAIN, E.AGAIN], 'ERR, REQ') },
    ),
    item(
      'LIFE-8',
      'Opening again starts clean: BARs, interrupt line, DisINTx and MSI are as the hardware has them, bus mastering is off.',
      (w) => {
        const msi = w.capability(edu, MSI);
        const places = [0x04, 0x10, 0x14, 0x30, 0x3c, msi, msi + 4, msi + 8, msi + 12];
        const { group, device } = w.device(edu);
        const all = (fd: number) => places.map((at) => w.config(fd, at, 4));
        const before = all(device);
        w.setConfig(device, COMMAND, 2, MEMORY | BUS_MASTER | DISABLE_INTX);
        for (const at of [0x10, 0x30, msi + 4, msi + 8]) w.setConfig(device, at, 4, 0xfff0_0000 | MARK);
        w.setConfig(device, msi + 12, 2, MARK);
        w.setConfig(device, 0x3c, 1, before[4] === MARK ? 0 : 0x5a);
        w.setConfig(device, msi + 2, 2, 0x70);
        const changed = all(device);
        w.is(
          [0, 1, 4, 6, 8].filter((n) => changed[n] === before[n]),
          [],
          'places that did not take a value',
        );
        w.close(device);
        w.is(all(w.ok(w.deviceFd(group, edu), 'GET_DEVICE_FD')), before, 'configuration space');
        w.is(command(w, edu) & BUS_MASTER, 0, 'bus mastering of the hardware');
      },
    ),
    item(
      'LIFE-9',
      'An unbind while the device is open waits for its close: the eventfd of REQ gets 1 at once and then every 10 s; without one there is one line in the log.',
      async (w) => {
        const missing = /No device request channel registered, blocked until released by user/;
        const before = lines(w, missing);
        const { device, unbind } = await unbindWhileOpen(w);
        await w.until(() => lines(w, missing) > before);
        w.is(lines(w, missing) - before, 1, 'lines of the log');
        w.ok(w.deviceFlags(device), 'the device works on');
        w.is(w.driverOf(edu), undefined, 'driver in sysfs, at once');
        w.close(device);
        w.is(await w.until(unbind.done), true, 'the unbind ends');

        const other = w.device(nvme);
        const request = noticeFd(w, other.device, REQ);
        const start = w.system.now();
        const second = w.around.unbindElsewhere(nvme);
        const asked = (seconds: number) => w.until(() => w.system.eventfdRead(request) === 1, seconds);
        w.is(await w.until(() => w.driverOf(nvme) === undefined), true, 'the unbind begins');
        w.is(await asked(8), true, 'asked at once');
        w.is(await asked(60), true, 'asked again');
        // The kernel's own clock, and more than the first took: a slow machine is later, never earlier.
        w.is(w.system.now() - start > 9000, true, 'no sooner than after 10 s');
        w.is(second.done(), false, 'the unbind waits');
        w.close(other.device);
        w.is(await w.until(second.done), true, 'the unbind ends');
      },
    ),
    item('LIFE-10', 'A signal to the task that unbinds does not end its wait; it is logged once.', async (w) => {
      const blocked = /Device is currently in use, task ".*" \(\d+\) blocked until device is released/;
      const before = lines(w, blocked);
      const { device, unbind } = await unbindWhileOpen(w);
      for (let signals = 0; signals < 2; signals++) {
        unbind.signal();
        await w.until(() => lines(w, blocked) > before);
        await w.system.sleep(500);
      }
      w.is(unbind.done(), false, 'the unbind waits on');
      w.is(lines(w, blocked) - before, 1, 'lines of the log');
      w.close(device);
      w.is(await w.until(unbind.done), true, 'the unbind ends');
    }),
    changed(
      'LIFE-11',
      'While an unbind waits GET_DEVICE_FD still gives the device; from 6.6 it is ENODEV from the start of the unbind.',
      {
        below: '6.6',
        run: async (w) => {
          const { group, device, unbind } = await unbindWhileOpen(w);
          const more = w.ok(w.deviceFd(group, edu), 'GET_DEVICE_FD');
          w.close(device);
          await w.system.sleep(500);
          w.is(unbind.done(), false, 'the unbind waits for both');
          w.close(more);
          w.is(await w.until(unbind.done), true, 'the unbind ends');
        },
      },
      {
        from: '6.6',
        run: async (w) => {
          const { group, device, unbind } = await unbindWhileOpen(w);
          const again = () => {
            const fd = w.deviceFd(group, edu);
            if (fd >= 0) w.close(fd);
            return fd;
          };
          await w.until(() => again() < 0);
          w.is(again(), E.NODEV, 'GET_DEVICE_FD');
          w.close(device);
          w.is(await w.until(unbind.done), true, 'the unbind ends');
        },
      },
    ),
    ...hostLife,
  ],
};
