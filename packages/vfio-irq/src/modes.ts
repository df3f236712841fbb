/** The five interrupt indexes of VFIO for PCI, by name, and what their errors mean. */

import { type DeviceChannel, type IrqInfo, isVfioError, VfioError } from 'vfio-core';

/** An interrupt mode of a PCI function; one is on at a time. */
export type InterruptKind = 'intx' | 'msi' | 'msix';
/** A mode, or one of the two events that are independent of it: an error that the bus reported, and the kernel's request to let the device go. */
export type EventKind = InterruptKind | 'err' | 'req';

/** Index and name in messages. Source: linux/vfio.h, `VFIO_PCI_*_IRQ_INDEX`. */
export const eventKinds = {
  intx: { index: 0, name: 'INTx' },
  msi: { index: 1, name: 'MSI' },
  msix: { index: 2, name: 'MSI-X' },
  err: { index: 3, name: 'the error event' },
  req: { index: 4, name: 'the release request' },
} as const satisfies Record<EventKind, { index: number; name: string }>;

/**
 * What the kernel says of an index. Count 0 where the device has none: the kernel refuses to describe the error event of a
 * conventional device ([IRQ-4]), and that is the same answer in other words.
 */
export function describe(channel: DeviceChannel, kind: EventKind): IrqInfo {
  const { index } = eventKinds[kind];
  try {
    return channel.irq(index);
  } catch (error) {
    if (!isVfioError(error) || error.code !== 'ERR_VFIO_ARGUMENT') throw error;
    return { index, count: 0, eventfd: false, maskable: false, automasked: false, noResize: false };
  }
}

/**
 * Switches a mode on with one eventfd for each vector.
 * @throws `ERR_VFIO_IRQ` with details `{ asked, available }` when there are fewer vectors; `ERR_VFIO_IRQ` for what else the kernel refuses
 */
export function switchOn(channel: DeviceChannel, address: string, kind: InterruptKind, fds: readonly number[]): void {
  const { index, name } = eventKinds[kind];
  let available: number;
  try {
    available = channel.setIrqs({ index, start: 0, action: 'trigger', data: { kind: 'eventfd', fds } });
  } catch (error) {
    throw explain(error, channel, address, kind, fds.length);
  }
  // [IRQ-26] A positive answer is what the kernel could have given; nothing is on then.
  if (available > 0) throw tooFew(name, address, fds.length, available);
}

/** Switches a mode off, and with it every vector. */
export function switchOff(channel: DeviceChannel, kind: InterruptKind): void {
  channel.setIrqs({ index: eventKinds[kind].index, start: 0, action: 'trigger', data: { kind: 'none', count: 0 } });
}

/** Gives one vector another eventfd, or none (-1). */
export function bindVector(channel: DeviceChannel, kind: EventKind, vector: number, fd: number): void {
  const { index } = eventKinds[kind];
  channel.setIrqs({ index, start: vector, action: 'trigger', data: { kind: 'eventfd', fds: [fd] } });
}

export function tooFew(name: string, address: string, asked: number, available: number): VfioError {
  return new VfioError(
    'ERR_VFIO_IRQ',
    `${asked} ${name} vectors were asked for, and ${address} can have ${available}.`,
    { remedy: `Ask for ${available} or fewer; info() says how many there are.`, details: { asked, available } },
  );
}

const EBUSY = 16;
const ENODEV = 19;
const EINVAL = 22;
const ENOSPC = 28;

function explain(error: unknown, channel: DeviceChannel, address: string, kind: InterruptKind, asked: number): unknown {
  if (!isVfioError(error) || error.errno === undefined) return error;
  const { name } = eventKinds[kind];
  const refuse = (summary: string, remedy: string): VfioError =>
    new VfioError('ERR_VFIO_IRQ', summary, {
      remedy,
      errno: error.errno!,
      syscall: 'ioctl',
      request: 'VFIO_DEVICE_SET_IRQS',
      details: { asked },
      cause: error,
    });
  switch (error.errno) {
    case EBUSY:
      return refuse(
        `The interrupt line of ${address} is taken by another device and cannot be shared.`,
        'Use MSI or MSI-X, or unbind the other device: see /proc/interrupts.',
      );
    case ENODEV:
      // [IRQ-19] For INTx this may mean only that no host interrupt is routed to the pin; a device that left answers nothing else either.
      if (kind !== 'intx' || !answers(channel)) return error;
      return refuse(`The machine routes no interrupt to the pin of ${address}.`, 'Use MSI or MSI-X.');
    case EINVAL:
      return refuse(
        `${name} cannot be switched on for ${address} with ${asked} ${asked === 1 ? 'vector' : 'vectors'}.`,
        'Another descriptor of this device may have an interrupt mode on: switch that off first.',
      );
    case ENOSPC:
      return refuse(`The machine has no ${name} vectors left for ${address}.`, 'Ask for fewer vectors.');
    default:
      return error;
  }
}

function answers(channel: DeviceChannel): boolean {
  const vendor = new Uint8Array(2);
  try {
    channel.read(CONFIG, 0, vendor);
  } catch {
    return false;
  }
  return vendor[0] !== 0xff || vendor[1] !== 0xff;
}

/** Region index of configuration space. Source: linux/vfio.h, `VFIO_PCI_CONFIG_REGION_INDEX`. */
const CONFIG = 7;
/** PCI Local Bus 3.0, section 6.2.2: the command register and its bit "bus master". */
const COMMAND = 4;
const BUS_MASTER = 1 << 2;

/** Whether the device may write memory, which is what a message-signalled interrupt is. True where it cannot be told. */
export function busMastering(channel: DeviceChannel): boolean {
  const command = new Uint8Array(2);
  try {
    channel.read(CONFIG, COMMAND, command);
  } catch {
    return true;
  }
  return (command[0]! & BUS_MASTER) !== 0;
}
