// The other thread of "as fast as it goes": attaches to the queue and to the buffers, and runs the loop.
import { parentPort, workerData } from 'node:worker_threads';
import { attachDma } from 'vfio-core';
import { QueuePair } from 'vfio-drivers-example';

const { ticket, bufferTickets, total } = workerData;
const queue = QueuePair.attach(ticket);
const buffers = bufferTickets.map((buffer) => attachDma(buffer));
const disk = queue.namespaces[0];
const blocks = 4096 / disk.blockSize;
const last = Math.floor(Number(disk.blocks) / blocks);
let next = 0;
let submitted = 0;
let done = 0;
let failed = 0;

const submit = (slot) => {
  queue.read(slot, disk, next * blocks, buffers[slot], blocks);
  next = next + 1 === last ? 0 : next + 1;
  submitted++;
};
const again = (slot, status) => {
  done++;
  if (status !== 0) failed++;
  if (submitted < total) submit(slot);
};
for (let slot = 0; slot < buffers.length; slot++) submit(slot);
queue.ring();
while (done < total) queue.poll(again);

queue.close();
for (const buffer of buffers) buffer.close();
parentPort.postMessage({ done, failed });
