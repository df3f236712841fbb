import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { check, command, field, kernel, mode, monitor, same, test } from '../guest.js';

const groups = () => readdirSync('/sys/kernel/iommu_groups');
const function0 = (bus: number) => `/sys/bus/pci/devices/0000:0${bus}:00.0`;
const id = (bus: number) =>
  ['vendor', 'device'].map((name) => readFileSync(`${function0(bus)}/${name}`, 'utf8').trim()).join(' ');

field('node', process.version);
field('groups', groups().length);

test('the kernel is of the wanted line', () => {
  check(release().startsWith(`${kernel}.`), release());
});

test('Node runs a program of its own in the guest', () => {
  same(command(process.execPath, '-e', 'process.stdout.write(String(6 * 7))'), '42');
});

test('the planned devices are where the plan puts them', () => {
  same([id(1), id(2)], ['0x1234 0x11e8', '0x1b36 0x0010']);
});

test('VFIO is loaded in the mode of the run', () => {
  check(existsSync('/dev/vfio/vfio'), 'no /dev/vfio/vfio');
  const parameter = '/sys/module/vfio/parameters/enable_unsafe_noiommu_mode';
  // Debian's own modules, which mode iommu has on 6.1, are built without the parameter.
  const value = existsSync(parameter) ? readFileSync(parameter, 'utf8').trim() : 'not there';
  same(value, mode === 'noiommu' ? 'Y' : kernel === '6.1' ? 'not there' : 'N', parameter);
});

test('the IOMMU groups are those of the mode', () => {
  if (mode === 'iommu') check(groups().length > 0, 'no IOMMU group');
  else same(groups(), [], 'groups before vfio-pci makes any');
});

test('vfio-pci takes a device, which then has a group file of the mode', () => {
  writeFileSync(`${function0(1)}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', '0000:01:00.0');
  const files = readdirSync('/dev/vfio').filter((name) => name !== 'vfio' && name !== 'devices');
  same(files.length, 1, 'group files');
  same(files[0]?.startsWith('noiommu-'), mode === 'noiommu', files[0]);
});

test('iommufd and a file of the device itself are there from 6.12 on, the file only with an IOMMU', () => {
  const character = (path: string) => existsSync(path) && statSync(path).isCharacterDevice();
  same(character('/dev/iommu'), kernel !== '6.1', '/dev/iommu');
  const named = `${function0(1)}/vfio-dev`;
  const names = readdirSync(named);
  same(names.length, 1, `names in ${named}`);
  const files = existsSync('/dev/vfio/devices') ? readdirSync('/dev/vfio/devices') : [];
  same(files, kernel !== '6.1' && mode === 'iommu' ? names : [], 'files in /dev/vfio/devices');
  for (const file of files) check(character(`/dev/vfio/devices/${file}`), `${file} is no character device`);
  field('deviceFiles', files);
});

test('the monitor of the emulator answers', async () => {
  check(/edu/.test(await monitor('info pci')) || /1234:11e8/.test(await monitor('info pci')), 'no edu in its PCI list');
});
