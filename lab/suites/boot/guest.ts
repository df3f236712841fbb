import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { check, command, field, mode, monitor, same, test } from '../guest.js';

const groups = () => readdirSync('/sys/kernel/iommu_groups');
const function0 = (bus: number) => `/sys/bus/pci/devices/0000:0${bus}:00.0`;
const id = (bus: number) =>
  ['vendor', 'device'].map((name) => readFileSync(`${function0(bus)}/${name}`, 'utf8').trim()).join(' ');

field('node', process.version);
field('groups', groups().length);

test('the kernel is of the wanted line', () => {
  check(/^6\.1\./.test(release()), release());
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
  if (mode === 'noiommu') same(readFileSync(parameter, 'utf8').trim(), 'Y', parameter);
  else check(!existsSync(parameter), `${parameter} exists`);
});

test('the IOMMU groups are those of the mode', () => {
  if (mode === 'iommu') check(groups().length > 0, 'no IOMMU group');
  else same(groups(), [], 'groups before vfio-pci makes any');
});

test('vfio-pci takes a device, which then has a group file of the mode', () => {
  writeFileSync(`${function0(1)}/driver_override`, 'vfio-pci');
  writeFileSync('/sys/bus/pci/drivers_probe', '0000:01:00.0');
  const files = readdirSync('/dev/vfio').filter((name) => name !== 'vfio');
  same(files.length, 1, 'group files');
  same(files[0]?.startsWith('noiommu-'), mode === 'noiommu', files[0]);
});

test('the monitor of the emulator answers', async () => {
  check(/edu/.test(await monitor('info pci')) || /1234:11e8/.test(await monitor('info pci')), 'no edu in its PCI list');
});
