// Tries one thing in a process of its own, with less rights or other limits than the test, and prints what came of it as JSON.
//   node attempt.mjs WHAT ADDRESS
import { readdirSync, readFileSync } from 'node:fs';
import { acknowledgement, openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';

const [what, address] = process.argv.slice(2);

const held = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  locked: Number(/VmLck:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]),
  maps: readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => /anon_inode|\/dev\/|memfd:/.test(line)).length,
});

const attempts = {
  open: async () => (await PciDevice.open(address)).close(),
  openUnsafe: async () => (await openUnsafe(address, { acknowledge: acknowledgement })).close(),
  allocate: async () => {
    const device = await PciDevice.open(address);
    try {
      device.dma.allocate(4 << 20);
    } finally {
      device.close();
    }
  },
  hold: async () => {
    const device = await PciDevice.open(address);
    console.log('holding');
    await new Promise((done) => process.stdin.once('data', done));
    device.close();
  },
};

// Loads the addon, whose first use opens what stays open.
await PciDevice.open('0000:1f:00.0').catch(() => {});
const before = held();
let error = null;
try {
  await attempts[what]();
} catch (thrown) {
  const { name, code, message, remedy, details, errno } = thrown;
  error = { name, code, message, remedy, details, errno };
}
const after = held();
console.log(
  JSON.stringify({ error, before, after }, (_, value) => (typeof value === 'bigint' ? Number(value) : value)),
);
process.exit(0);
