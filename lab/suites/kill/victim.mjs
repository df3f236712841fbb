// The process that is killed: keeps a queue full of reads and writes and never ends. What it has submitted and completed stands in a
// shared file, so that it can be read after the kill.
//   node victim.mjs ADDRESS MODE FILE
import { readFileSync } from 'node:fs';
import { defaultBackend } from 'vfio-core';
import { Nvme } from 'vfio-drivers-example';
import { acknowledgement, openUnsafe } from 'vfio-noiommu';
import { PciDevice } from 'vfio-pci';

const [address, mode, file] = process.argv.slice(2);
const transfer = 65536;
const depth = 32;

const system = defaultBackend();
const shared = system.memory({ kind: 'file', fd: system.open(file, 2), offset: 0, length: 4096 });
const counters = new Uint32Array(shared.bytes.buffer, shared.bytes.byteOffset, 4);

const device =
  mode === 'noiommu'
    ? PciDevice.from(await openUnsafe(address, { acknowledge: acknowledgement }))
    : await PciDevice.open(address);
const nvme = await Nvme.open(device, { interrupts: 'polled' });
const [disk] = nvme.namespaces;
const queue = await nvme.createQueuePair({ depth: depth * 2 });
const buffers = Array.from({ length: depth }, () => nvme.dma.allocate(transfer));
for (const buffer of buffers) buffer.bytes.fill(0x5b);

const blocks = transfer / disk.blockSize;
const positions = Math.floor(Number(disk.blocks) / blocks);
let position = 0;

function submit(slot) {
  const lba = (position++ % positions) * blocks;
  // Every other command makes the device write into our memory.
  if (slot % 2 === 0) queue.write(slot, disk, lba, buffers[slot]);
  else queue.read(slot, disk, lba, buffers[slot]);
  counters[0]++;
}

function completed(slot, status) {
  if (status !== 0) counters[2]++;
  counters[1]++;
  submit(slot);
}

for (let slot = 0; slot < depth; slot++) submit(slot);
queue.ring();
counters[3] = Number(/VmLck:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0);
for (;;) queue.poll(completed);
