/** The bytes of VFIO_DEVICE_SET_IRQS. Source: linux/vfio.h, `struct vfio_irq_set`. */

import type { IoctlPlaces } from '../seam/system-calls.js';
import { constants } from '../uapi/constants.js';
import { encode } from '../uapi/struct.js';
import { structs } from '../uapi/structs.js';
import type { IrqRequest } from './device.js';

const actions = {
  mask: constants.VFIO_IRQ_SET_ACTION_MASK,
  unmask: constants.VFIO_IRQ_SET_ACTION_UNMASK,
  trigger: constants.VFIO_IRQ_SET_ACTION_TRIGGER,
} as const;

const struct = structs.vfio_irq_set;

/** The structure with its data, and the places of its descriptors. */
export function encodeIrqRequest({ index, start, action, data }: IrqRequest): {
  bytes: Uint8Array;
  places: IoctlPlaces;
} {
  const make = (dataFlag: number, count: number, dataBytes: number) =>
    encode(struct, { flags: dataFlag | actions[action], index, start, count }, struct.size + dataBytes);
  switch (data.kind) {
    case 'none':
      return { bytes: make(constants.VFIO_IRQ_SET_DATA_NONE, data.count, 0), places: {} };
    case 'bool': {
      const bytes = make(constants.VFIO_IRQ_SET_DATA_BOOL, data.values.length, data.values.length);
      for (const [i, value] of data.values.entries()) bytes[struct.size + i] = value ? 1 : 0;
      return { bytes, places: {} };
    }
    case 'eventfd': {
      const bytes = make(constants.VFIO_IRQ_SET_DATA_EVENTFD, data.fds.length, data.fds.length * 4);
      const view = new DataView(bytes.buffer);
      const fds: { at: number; fd: number }[] = [];
      for (const [i, fd] of data.fds.entries()) {
        const at = struct.size + 4 * i;
        // -1 is not a descriptor but the word for none: it stands in the bytes itself.
        if (fd < 0) view.setInt32(at, fd, true);
        else fds.push({ at, fd });
      }
      return { bytes, places: { fds } };
    }
  }
}

/** Switches an interrupt index off. */
export const disableIrq = (index: number): IrqRequest => ({
  index,
  start: 0,
  action: 'trigger',
  data: { kind: 'none', count: 0 },
});
