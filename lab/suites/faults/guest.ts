import { bind } from 'vfio-pci';
import { monitor, note, run, test } from '../guest.js';
import { asleepInD3, decodingOff } from './asleep.js';
import { endProcesses, endWorkers } from './ended.js';
import { numberDisk, Reader } from './reader.js';
import { letGo, plug, unbinding, unplugging } from './taken.js';

const address = '0000:01:00.0';
/** Rounds of what the product promises most, and of the rest. */
const many = Number(process.env.FAULTS_MANY ?? 50);
const few = Number(process.env.FAULTS_FEW ?? 5);
/** In the run in which the port itself unplugs: it does so five seconds after it was asked, so all are asked at once. */
const cards = run === 'unplugged' ? 10 : 1;
const addressOf = (number: number) => `0000:${number.toString(16).padStart(2, '0')}:00.0`;
const numbers = Array.from({ length: cards }, (_, i) => i + 1);

test('each block of the disks holds its number', async () => {
  for (const number of numbers) {
    bind(addressOf(number));
    await numberDisk(addressOf(number));
    note(`disk ${number} is ready`);
  }
  // Node, the SDK and the lab keep a few things from their first use on.
  await monitor('info version');
  (await Reader.open(address)).nvme.close();
});

const limit = { seconds: 300 };

if (run === 'ended') {
  test(`SIGKILL in the middle of DMA, ${many} times`, () => endProcesses('sigkill', address, 'kill', many), limit);
  test('the process ends by process.exit', () => endProcesses('exit', address, 'exit', few), limit);
  test('the program comes to its end', () => endProcesses('endOfProgram', address, 'return', few), limit);
  test('an exception that nobody catches', () => endProcesses('uncaughtException', address, 'throw', few), limit);
  test(`a Worker is terminated, ${many} times`, () => endWorkers('workerEnd', address, many), limit);
}

if (run === 'taken') {
  test(`decoding off under mapped registers, ${many} times`, () => decodingOff('decodingOff', address, many), limit);
  test('D3 under mapped registers', () => asleepInD3('d3', address, few), limit);
  test(
    `unbind by sysfs, ${many} times`,
    () => letGo('unbind', [{ address, take: unbinding, again: async () => void bind(address) }], many),
    limit,
  );
}

if (run === 'unplugged') {
  test(
    `unplugged by the machine's monitor, ${many} times`,
    () => {
      const all = numbers.map((number) => ({
        address: addressOf(number),
        take: unplugging(`card${number}`),
        again: async () => {
          await plug(addressOf(number), number);
          bind(addressOf(number));
        },
      }));
      return letGo('unplug', all, many);
    },
    limit,
  );
}
