import { bind } from 'vfio-pci';
import { kernel, monitor, same, test } from '../guest.js';
import { asleepInD3, decodingOff } from './asleep.js';
import { endProcesses, endWorkers } from './ended.js';
import { numberDisk } from './image.js';
import { Reader } from './reader.js';
import { letGo, plug, unbinding, unplugging } from './taken.js';

const address = '0000:01:00.0';
/** Rounds of what the product promises most, and of the rest. */
const many = Number(process.env.FAULTS_MANY);
const few = Number(process.env.FAULTS_FEW);
/** What of the suite this boot is for, and by which way the kernel is reached. */
const parts = (process.env.FAULTS_PARTS as string).split(' ');
const way = process.env.FAULTS_WAY as string;
/** In the run in which the port itself unplugs: it does so five seconds after it was asked, so all are asked at once. */
const cards = parts.includes('unplugged') ? 10 : 1;
const addressOf = (number: number) => `0000:${number.toString(16).padStart(2, '0')}:00.0`;
const numbers = Array.from({ length: cards }, (_, i) => i + 1);
/** The scenario's name in the report. */
const named = (scenario: string) => (way === 'container' ? scenario : `${scenario}-${way}`);
const limit = { seconds: 600 };

test(`the disks are ready, and opened by way of ${way}`, async () => {
  for (const number of numbers) {
    numberDisk(`disk${number}`);
    bind(addressOf(number));
  }
  // Node, the SDK and the lab keep a few things from their first use on.
  await monitor('info version');
  const { nvme } = await Reader.open(address);
  same(nvme.dma.way.name, way, `way into kernel ${kernel}`);
  nvme.close();
});

if (parts.includes('killed')) {
  test(
    `SIGKILL in the middle of DMA, ${many} times`,
    () => endProcesses(named('sigkill'), address, 'kill', many),
    limit,
  );
}

if (parts.includes('ended')) {
  test(`a Worker is terminated, ${many} times`, () => endWorkers(named('workerEnd'), address, many), limit);
  test('the process ends by process.exit', () => endProcesses(named('exit'), address, 'exit', few), limit);
  test('the program comes to its end', () => endProcesses(named('endOfProgram'), address, 'return', few), limit);
  test(
    'an exception that nobody catches',
    () => endProcesses(named('uncaughtException'), address, 'throw', few),
    limit,
  );
}

if (parts.includes('taken')) {
  test(
    `decoding off under mapped registers, ${many} times`,
    () => decodingOff(named('decodingOff'), address, many),
    limit,
  );
  test('D3 under mapped registers', () => asleepInD3(named('d3'), address, few), limit);
  const card = { address, take: unbinding, again: async () => void bind(address) };
  test(`unbind by sysfs, ${many} times`, () => letGo(named('unbind'), [card], many), limit);
}

if (parts.includes('unplugged')) {
  const all = numbers.map((number) => ({
    address: addressOf(number),
    take: unplugging(`card${number}`),
    again: async () => {
      await plug(addressOf(number), number);
      bind(addressOf(number));
    },
  }));
  test(`unplugged by the machine's monitor, ${many} times`, () => letGo(named('unplug'), all, many), limit);
}
