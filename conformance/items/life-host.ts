/** LIFE-12 to LIFE-20: errors of the bus, and what vfio-pci takes and refuses. */

import { changed, type Item, item, type Variant } from '../src/item.js';
import { E, machine, type World, word } from '../src/world.js';

const { edu, nvme, pair, port, qat, sriov, vga } = machine;

const COMMAND = 4;
const [MEMORY, BUS_MASTER, DISABLE_INTX] = [2, 4, 0x400];

const errorFd = (w: World, device: number): number => {
  const fd = w.eventfd();
  w.is(w.setIrqs(device, 0x24, 3, 0, 1, [fd]), 0, 'SET_IRQS of ERR');
  return fd;
};

/** Opens edu and masks its INTx: whether that is done in the device, and not at the interrupt controller. */
function masksInDevice(w: World): boolean {
  const { device } = w.device(edu);
  w.is(w.setIrqs(device, 0x24, 0, 0, 1, [w.eventfd()]), 0, 'SET_IRQS of INTX');
  w.is(w.setIrqs(device, 0x09, 0, 0, 1), 0, 'mask');
  const disabled = (w.hardware(edu).getUint16(COMMAND, true) & DISABLE_INTX) !== 0;
  w.closeAll();
  return disabled;
}

const newId = (w: World, file: 'new_id' | 'remove_id', id: string): number =>
  Math.min(0, w.system.writeFile(`/sys/bus/pci/drivers/vfio-pci/${file}`, id));

const setVirtualFunctions = (w: World, count: number): number =>
  w.system.writeFile(`/sys/bus/pci/devices/${sriov}/sriov_numvfs`, `${count}`);

/** What the arbiter says that the adapter decodes. */
function vgaDecodes(w: World): string | undefined {
  const fd = w.ok(w.open('/dev/vga_arbiter'), 'open of the arbiter');
  const target = new TextEncoder().encode(`target PCI:${vga}`);
  w.is(w.system.pwrite(fd, target, 0), target.length, 'target');
  const text = new Uint8Array(200);
  const length = w.ok(w.system.pread(fd, text, 0), 'read of the arbiter');
  return /decodes=([^,]*)/.exec(new TextDecoder().decode(text.subarray(0, length)))?.[1];
}

/** vfio-pci loaded with `ids`: whether it takes edu. */
const withIds = (ids: string, takes: boolean, more?: (w: World) => void): Variant => ({
  vfioPci: { ids },
  run: (w) => {
    w.is(w.driverOf(edu), takes ? 'vfio-pci' : undefined, 'driver of edu');
    w.is(w.driverOf(nvme), undefined, 'driver of the NVMe controller');
    more?.(w);
  },
});

const logged = (w: World, line: string): boolean => w.around.log().some((text) => text.endsWith(line));

const noList = 'no device of the list is in QEMU';

export const hostLife: readonly Item[] = [
  item(
    'LIFE-12',
    'A PCI Express error that the bus reports adds 1 to the eventfd of ERR; the device stays open and works on.',
    async (w) => {
      const { device } = w.device(nvme);
      const error = errorFd(w, device);
      const id = w.config(device, 0, 4);
      w.around.linkError(nvme, false);
      w.is(await w.until(() => w.system.eventfdRead(error) === 1), true, 'the eventfd of ERR');
      w.is(w.config(device, 0, 4), id, 'ids');
      w.is(w.deviceFlags(device) & 1, 1, 'DEVICE_GET_INFO');
      w.is(w.config(device, COMMAND, 2) & MEMORY, MEMORY, 'memory is still on');
    },
  ),
  changed(
    'LIFE-13',
    'vfio-pci refuses bridges with EINVAL; from 5.7 it refuses a function that has virtual functions with EBUSY.',
    {
      run: (w) => {
        w.is(w.driverOf(port), 'pcieport', 'driver of the port');
        w.is(w.unbind(port), 0, 'unbind of the port');
        const result = w.bind(port, 'vfio-pci');
        w.is(w.bind(port, 'pcieport'), 0, 'the port goes back');
        w.is(result, E.INVAL, 'bind of the port to vfio-pci');
      },
    },
    {
      from: '5.7',
      run: (w) => {
        // Where there is such a file: the host's drivers leave the virtual functions alone.
        w.system.writeFile(`/sys/bus/pci/devices/${sriov}/sriov_drivers_autoprobe`, '0');
        w.is(w.bind(sriov, 'nvme'), 0, "bind to the host's driver");
        w.is(setVirtualFunctions(w, 1), 0, 'one virtual function');
        w.is(w.unbind(sriov), 0, 'unbind');
        const result = w.bind(sriov, 'vfio-pci');
        w.is(w.bind(sriov, 'nvme'), 0, "bind to the host's driver again");
        w.is(setVirtualFunctions(w, 0), 0, 'no virtual function');
        w.is(result, E.BUSY, 'bind to vfio-pci');
      },
    },
  ),
  changed(
    'LIFE-14',
    'vfio-pci takes a function by driver_override, by new_id or by its parameter ids, and none that is named by nothing.',
    {
      run: (w) => {
        w.is(w.unbind(edu), 0, 'unbind');
        const bind = () => Math.min(0, w.system.writeFile('/sys/bus/pci/drivers/vfio-pci/bind', edu));
        w.is(bind(), E.NODEV, 'bind of what nothing names');
        w.is(newId(w, 'new_id', '1234'), E.INVAL, 'new_id of one field');
        w.is(newId(w, 'new_id', '1234 11e8'), 0, 'new_id');
        w.is(w.driverOf(edu), 'vfio-pci', 'driver after new_id');
        w.is(newId(w, 'new_id', '1234 11e8'), E.EXIST, 'new_id once more');
        w.is(newId(w, 'remove_id', '1234 11e8'), 0, 'remove_id');
        w.is(newId(w, 'remove_id', '1234 11e8'), E.NODEV, 'remove_id once more');
        w.is(w.driverOf(edu), 'vfio-pci', 'driver after remove_id');
        w.is(w.unbind(edu), 0, 'unbind');
        w.is(bind(), E.NODEV, 'bind of what nothing names any more');
        w.is(w.bind(edu, 'vfio-pci'), 0, 'bind by driver_override');
      },
    },
    withIds('1234:11e8', true, (w) => w.is(w.driverOf(pair[0]), 'vfio-pci', 'driver of the second edu')),
  ),
  item(
    'LIFE-15',
    'After a fatal error the link was reset and vfio-pci brings nothing back: the eventfd of ERR gets 1, and the user has to set the device up again.',
    async (w) => {
      const { device } = w.device(nvme);
      const error = errorFd(w, device);
      const version = (): number => {
        const bytes = new Uint8Array(4);
        w.is(w.system.pread(device, bytes, 8), 4, 'read of a register');
        return word(bytes, 0);
      };
      const before = version();
      w.setConfig(device, COMMAND, 2, MEMORY | BUS_MASTER);
      w.around.linkError(nvme, true);
      w.is(await w.until(() => w.system.eventfdRead(error) === 1), true, 'the eventfd of ERR');
      const off = () => (w.hardware(nvme).getUint16(COMMAND, true) & (MEMORY | BUS_MASTER)) === 0;
      w.is(await w.until(off), true, 'memory and bus mastering are off');
      await w.system.sleep(2000);
      w.is(off(), true, 'they stay off');
      // The reset of the link ends later than the news of it, and takes what is set before that.
      const setUp = () => {
        w.setConfig(device, COMMAND, 2, MEMORY);
        return w.ioctl(device, 0x3b6f) === 0 && version() === before;
      };
      w.is(await w.until(setUp), true, 'the controller answers once it is set up again');
    },
  ),
  {
    ...changed(
      'LIFE-16',
      'Parameters: nointxmask and disable_idle_d3 are files of mode 0644, disable_vga of 0444, ids is none. Until 5.15 the first two count when a device is bound, opened and closed; then as they were when vfio-pci was loaded; from 7.2 as they were when the device was bound.',
      {
        run: (w) => {
          const mode = (name: string) => {
            const status = w.system.status(`/sys/module/vfio_pci/parameters/${name}`);
            return typeof status === 'number' ? status : status.mode & 0o777;
          };
          w.is(
            ['nointxmask', 'disable_idle_d3', 'disable_vga', 'ids'].map(mode),
            [0o644, 0o644, 0o444, E.NOENT],
            'modes',
          );
          w.is(masksInDevice(w), true, 'INTx is masked in the device');
        },
      },
      {
        vfioPci: { nointxmask: 'Y' },
        run: (w) => {
          w.is(w.bind(edu, 'vfio-pci'), 0, 'bind');
          w.is(masksInDevice(w), false, 'INTx is masked in the device');
        },
      },
      { below: '5.15', run: (w) => w.is(written(w), true, 'the parameter counts') },
      {
        from: '5.15',
        below: '7.2',
        run: (w) => {
          w.is(written(w), false, 'the parameter counts');
          w.is(written(w, { bind: true }), false, 'the parameter counts after a bind');
        },
      },
      {
        from: '7.2',
        run: (w) => {
          w.is(written(w), false, 'the parameter counts');
          w.is(written(w, { bind: true }), true, 'the parameter counts after a bind');
        },
      },
    ),
    differs:
      'nointxmask and disable_idle_d3 that are written to sysfs count no more at bind, open and close since 5.15: they are handed to vfio-pci-core once, when vfio-pci is loaded',
  },
  changed(
    'LIFE-17',
    'A VGA adapter on vfio-pci is known to the VGA arbiter. With the parameter disable_vga, alone below its bridge, it decodes no legacy addresses.',
    {
      run: (w) => {
        w.is(w.bind(vga, 'vfio-pci'), 0, 'bind');
        w.is(vgaDecodes(w), 'io+mem', 'what it decodes');
      },
    },
    {
      vfioPci: { disable_vga: 'Y' },
      run: (w) => {
        w.is(w.bind(vga, 'vfio-pci'), 0, 'bind');
        w.is(vgaDecodes(w), 'none', 'what it decodes');
      },
    },
  ),
  changed(
    'LIFE-18',
    'The parameter ids: fewer than two hexadecimal fields are warned of and left out, empty entries do nothing, and fields 3 to 6 may each be missing.',
    withIds('zz,,1234,1234:11e8', true, (w) => {
      for (const text of ['zz', '1234']) w.is(logged(w, `vfio_pci: invalid id string "${text}"`), true, `log: ${text}`);
      w.is(logged(w, 'invalid id string ""'), false, 'log of the empty one');
    }),
    withIds('1234:11e8:1af4', true),
    withIds('1234:11e8:1af5', false),
    withIds('1234:11e8:1af4:1100:00ff00:ffff00', true),
    withIds('1234:11e8:1af4:1100:00fe00:ffff00', false),
  ),
  changed(
    'LIFE-19',
    'From 5.19 vfio-pci refuses a device with EINVAL where the IOMMU does not snoop the caches.',
    {
      below: '5.19',
      noncoherent: true,
      simulationOnly: "QEMU's IOMMUs all snoop the caches",
      run: (w) => w.is(w.driverOf(edu), 'vfio-pci', 'driver'),
    },
    {
      from: '5.19',
      noncoherent: true,
      simulationOnly: "QEMU's IOMMUs all snoop the caches",
      run: (w) => w.is(w.bind(edu, 'vfio-pci'), E.INVAL, 'bind'),
    },
  ),
  changed(
    'LIFE-20',
    'From 5.9 vfio-pci refuses devices of a list with EINVAL, unless disable_denylist is given. From 5.7, with enable_sriov, it makes virtual functions, and each has driver_override set to it; without, ENOENT.',
    {
      from: '5.9',
      simulationOnly: noList,
      run: (w) => w.is(w.bind(qat, 'vfio-pci'), E.INVAL, 'bind'),
    },
    {
      from: '5.9',
      vfioPci: { disable_denylist: 'Y' },
      simulationOnly: noList,
      run: (w) => w.is(w.bind(qat, 'vfio-pci'), 0, 'bind'),
    },
    { below: '5.9', simulationOnly: noList, run: (w) => w.is(w.bind(qat, 'vfio-pci'), 0, 'bind') },
    {
      from: '5.7',
      run: (w) => {
        w.is(w.bind(sriov, 'vfio-pci'), 0, 'bind');
        w.is(setVirtualFunctions(w, 1), E.NOENT, 'without enable_sriov');
        w.setParameter('vfio_pci', 'enable_sriov', 'Y');
        const made = setVirtualFunctions(w, 1);
        w.setParameter('vfio_pci', 'enable_sriov', 'N');
        w.is(made, 0, 'with enable_sriov');
        const virtual = sriov.replace(/.$/, '1');
        const override = w.system.readFile(`/sys/bus/pci/devices/${virtual}/driver_override`);
        const driver = w.driverOf(virtual);
        w.setParameter('vfio_pci', 'enable_sriov', 'Y');
        w.is(setVirtualFunctions(w, 0), 0, 'none again');
        w.setParameter('vfio_pci', 'enable_sriov', 'N');
        w.is([override, driver], ['vfio-pci\n', 'vfio-pci'], 'driver_override and driver');
      },
    },
  ),
];

/** nointxmask is written to sysfs: whether it counts at the next open, or after the function is bound anew. */
function written(w: World, { bind = false } = {}): boolean {
  w.setParameter('vfio_pci', 'nointxmask', 'Y');
  if (bind) {
    w.is(w.unbind(edu), 0, 'unbind');
    w.is(w.bind(edu, 'vfio-pci'), 0, 'bind');
  }
  const counts = !masksInDevice(w);
  w.setParameter('vfio_pci', 'nointxmask', 'N');
  return counts;
}
