/** The device stops answering at its mapped registers and comes back: memory decoding off, power state D3. */
import { readFileSync } from 'node:fs';
import { isVfioError, RegionIndex } from 'vfio-core';
import { check, same } from '../guest.js';
import { Account, pause, type Round } from './account.js';
import { Reader } from './reader.js';
import { Target } from './target.js';

const quiet = 20;
/** Version register of an NVMe controller: never all-ones, never written. */
const VERSION = 0x08;

/** Mappings of device regions in this process. */
const mapsOfDevices = (): string[] =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('vfio-device'))
    .map((line) => line.split(' ').slice(0, 2).join(' '));

/** Polls until the queue throws, and returns the code of that. */
function codeOfPolling(reader: Reader): string {
  for (const end = performance.now() + 5000; performance.now() < end; ) {
    try {
      reader.poll();
    } catch (error) {
      check(isVfioError(error), `not an error of the SDK: ${String(error)}`);
      return error.code;
    }
  }
  return 'none within 5 s';
}

/** Polls until the queue has rung a doorbell, which nobody hears: it may look at the controller before that, and say that it sleeps. */
function loseDoorbell(reader: Reader): void {
  const { submitted } = reader;
  for (const end = performance.now() + 5000; reader.submitted === submitted && performance.now() < end; ) {
    try {
      reader.poll();
    } catch (error) {
      same(isVfioError(error) && error.code, 'ERR_VFIO_DEVICE_ASLEEP', 'polling while decoding is off');
    }
  }
  check(reader.submitted > submitted, 'nothing came that asked for a doorbell');
}

/** Who finds out first that the registers did not answer, in turns. */
const finders = ['the queue, while decoding is off', 'the program, once it is on', 'the queue, once it is on'] as const;

/** Decoding goes off with reads in flight: all-ones, an error that says why, and once it is on again the same queue goes on. */
export async function decodingOff(name: string, address: string, times: number): Promise<void> {
  const { target, memory } = Target.make();
  await new Account(name).run(times, async (round): Promise<Round> => {
    using reader = await Reader.open(address, memory);
    const finder = finders[round % finders.length];
    const { device, nvme, queue } = reader;
    const part = device.bar(0).window(0, 0x1000, { access: 'mapped' });
    const maps = mapsOfDevices();
    const version = part.read32(VERSION);
    reader.start();
    const { inFlight, changedMeanwhile } = await target.stoppedBy(
      () => target.goesOn(() => device.memoryDecoding.disable()),
      () => reader.poll(),
    );
    same(part.read32(VERSION), 0xffff_ffff, 'a register while decoding is off');
    if (finder === 'the queue, while decoding is off') {
      same(codeOfPolling(reader), 'ERR_VFIO_DEVICE_ASLEEP', 'polling while decoding is off');
    } else loseDoorbell(reader);
    device.memoryDecoding.enable();
    same(part.read32(VERSION), 0xffff_ffff, 'a register once decoding is on, unchecked');
    if (finder !== 'the queue, once it is on') {
      device.checkAlive();
      same(part.read32(VERSION), version, 'a register once checked');
    }
    // The same queue, with the doorbells that were lost rung again.
    const { submitted } = reader;
    for (const end = performance.now() + 5000; reader.submitted - submitted < 200 && performance.now() < end; ) {
      reader.poll();
    }
    check(reader.submitted - submitted >= 200, `the queue stands still: ${queue.inFlight} in flight (${finder})`);
    same(part.read32(VERSION), version, 'a register once the queue went on');
    same(mapsOfDevices(), maps, 'mappings of the device');
    same(reader.failures, [], 'statuses');
    await target.arrivals();
    nvme.close();
    const after = target.snapshot();
    await pause(quiet);
    return { inFlight, changedMeanwhile, changedAfter: target.differsFrom(after) };
  });
}

/** D3 with reads in flight, then D0, and a reset of the controller: what it was is not to be relied on. */
export async function asleepInD3(name: string, address: string, times: number): Promise<void> {
  const { target, memory } = Target.make();
  await new Account(name).run(times, async (): Promise<Round> => {
    using reader = await Reader.open(address, memory);
    const { device, nvme } = reader;
    const capability = device.config.capability('PM');
    check(capability !== undefined, 'the disk has no power management capability');
    const power = (state: number) =>
      device.channel.write(RegionIndex.CONFIG, capability.offset + 4, Uint8Array.of(state, 0));
    const part = device.bar(0).window(0, 0x1000, { access: 'mapped' });
    const version = part.read32(VERSION);
    reader.start();
    const { inFlight, changedMeanwhile } = await target.stoppedBy(
      () => target.goesOn(() => power(3)),
      () => reader.poll(),
    );
    same(part.read32(VERSION), 0xffff_ffff, 'a register in D3');
    same(codeOfPolling(reader), 'ERR_VFIO_DEVICE_ASLEEP', 'polling in D3');
    power(0);
    device.checkAlive();
    same(part.read32(VERSION), version, 'a register in D0');
    await target.arrivals();
    await nvme.reset();
    const after = target.snapshot();
    await pause(quiet);
    const changedAfter = target.differsFrom(after);
    const [disk] = nvme.namespaces;
    check(disk !== undefined, 'no namespace after D3');
    using buffer = nvme.dma.allocate(4096);
    await disk.read(0n, buffer);
    same(buffer.bytes[0], 1, 'the first byte of the disk');
    nvme.close();
    return { inFlight, changedMeanwhile, changedAfter };
  });
}
