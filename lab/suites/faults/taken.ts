/** The kernel asks the driver for its device: unbind, unplug by the monitor. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { interrupts } from 'vfio-irq';
import { findDevice } from 'vfio-pci';
import { check, folder, monitor, same } from '../guest.js';
import { Account, pause, type Round, until } from './account.js';
import { slots } from './load.js';
import { Reader } from './reader.js';
import { differ, Target } from './target.js';

const quiet = 20;
const devicePath = (address: string) => `/sys/bus/pci/devices/${address}`;

/** What asks the kernel for the device: resolves once the kernel has it. */
export type Taking = (address: string) => Promise<void>;

/** sysfs, by a process of its own: its write returns only when the driver let go. */
export const unbinding: Taking = async (address) => {
  const child = spawn('sh', ['-c', `echo ${address} > ${devicePath(address)}/driver/unbind`], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  same(code, 0, 'exit code of the unbinding process');
  same(findDevice(address).driver, undefined, 'driver after unbind');
};

/** The machine's monitor; `device` is its name there. */
export const unplugging =
  (device: string): Taking =>
  async (address) => {
    const answer = await inTurn(`device_del ${device}`);
    same(answer, '', 'what the monitor says to device_del');
    await until(`${address} is gone`, () => !existsSync(devicePath(address)), 40);
  };

/** The monitor listens to one at a time. */
let turn: Promise<unknown> = Promise.resolve();
function inTurn(command: string): Promise<string> {
  const answer = turn.then(() => monitor(command));
  turn = answer;
  return answer;
}

let drives = 0;

/**
 * Plugs a disk in again and waits for the kernel to have found it. QEMU lets go of the one that was taken out only some time after the
 * kernel has, and now and then never of its drive: then the image gets another.
 */
export async function plug(address: string, number: number): Promise<void> {
  let drive = `disk${number}`;
  let answer = '';
  for (let tries = 0; tries < 100; tries++) {
    answer = await inTurn(`device_add nvme,id=card${number},drive=${drive},serial=lab-disk${number},bus=port${number}`);
    if (answer === '') break;
    if (/already in use/.test(answer) && tries >= 3) {
      drive = `again${++drives}`;
      const image = `${folder}/disk${number}.img`;
      same(
        await inTurn(`drive_add 0 if=none,id=${drive},file=${image},format=raw,cache=unsafe,file.locking=off`),
        'OK',
        'what the monitor says to drive_add',
      );
    }
    await pause(300);
  }
  same(answer, '', 'what the monitor says to device_add');
  await until(`${address} is there`, () => existsSync(`${devicePath(address)}/driver_override`), 40);
}

/** A device that is taken away, and how. */
export interface Card {
  readonly address: string;
  readonly take: Taking;
  /** Makes it ready for the next round. */
  readonly again: () => Promise<void>;
}

/**
 * A driver that reads all the time hears the kernel's request, and lets go at once, with reads in flight. Several cards at once,
 * where the taking takes long.
 */
export async function letGo(name: string, cards: readonly Card[], times: number): Promise<void> {
  const all = cards.map((card) => ({ ...card, ...Target.make() }));
  const inFlight = Math.ceil(slots / cards.length);
  await new Account(name).run(times, () => Promise.all(all.map((one) => takeOne(one, inFlight))));
}

async function takeOne(card: Card & ReturnType<typeof Target.make>, inFlight: number): Promise<Round> {
  const { address, take, again, target, memory } = card;
  using reader = await Reader.open(address, memory);
  const asked = interrupts(reader.device)
    .requests()
    .once({ signal: AbortSignal.timeout(60_000) });
  reader.start(inFlight);
  let stop = false;
  const reading = reader.run(() => stop);
  check(await target.changesMeanwhile(target.snapshot()), 'the disk writes nothing');
  const taken = take(address);
  await asked;
  // Nobody has closed anything, so the kernel waits, and the device goes on.
  const changed = await target.changesMeanwhile(target.snapshot());
  stop = true;
  await reading;
  await target.arrivals();
  const left = reader.queue.inFlight;
  const before = target.snapshot();
  reader.nvme.close();
  const after = target.snapshot();
  const changedMeanwhile = differ(before, after);
  await taken;
  await pause(quiet);
  same(reader.failures, [], 'statuses');
  const changedAfter = target.differsFrom(after);
  await again();
  return { inFlight: changed && left > 0, changedMeanwhile, changedAfter };
}
