import { bind } from 'vfio-pci';
import { note, run, test } from '../guest.js';
import { asleepInD3, decodingOff } from './asleep.js';
import { endProcesses, endWorkers } from './ended.js';
import { numberDisk, Reader } from './reader.js';
import { letGo, plug, pulledOut, unbinding, unplugging } from './taken.js';

const address = '0000:01:00.0';
/** Rounds of what the product promises most, and of the rest. */
const many = Number(process.env.FAULTS_MANY ?? 50);
const few = Number(process.env.FAULTS_FEW ?? 10);
/** What `device_add` is told; the drive is on the machine's command line. */
const again = 'nvme,id=card,drive=disk,serial=lab-disk,bus=port1';

test('the disk is bound, and each of its blocks holds its number', async () => {
  bind(address);
  await numberDisk(address);
  // Node and the SDK keep a few things from their first use on.
  const reader = await Reader.open(address);
  reader.nvme.close();
  note('the disk is ready');
});

const limit = { seconds: 170 };

if (run === 'ended') {
  test(`SIGKILL in the middle of DMA, ${many} times`, () => endProcesses('sigkill', address, 'kill', many), limit);
  test('the process ends by process.exit', () => endProcesses('exit', address, 'exit', few), limit);
  test('the program comes to its end', () => endProcesses('endOfProgram', address, 'return', few), limit);
  test('an exception that nobody catches', () => endProcesses('uncaughtException', address, 'throw', few), limit);
  test(`a Worker is terminated, ${many} times`, () => endWorkers('workerEnd', address, many), limit);
}

if (run === 'taken') {
  test(
    `unbind by sysfs, ${many} times`,
    () => letGo('unbind', address, many, unbinding, async () => void bind(address)),
    limit,
  );
  test(`decoding off under mapped registers, ${many} times`, () => decodingOff('decodingOff', address, many), limit);
  test('D3 under mapped registers', () => asleepInD3('d3', address, few), limit);
  test(
    'pulled out without a word',
    () => pulledOut('surpriseRemoval', address, few, { port: '0000:00:10.0', device: again }),
    limit,
  );
}

if (run === 'unplugged') {
  test(
    `unplugged by the machine's monitor, ${many} times`,
    () =>
      letGo('unplug', address, many, unplugging('card'), async () => {
        await plug(address, again);
        bind(address);
      }),
    limit,
  );
}
