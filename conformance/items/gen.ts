import { Iommufd } from '../src/iommufd-world.js';
import { changed, item, type Section } from '../src/item.js';
import { E, machine } from '../src/world.js';

/** A command that no file of VFIO has. */
const UNKNOWN = 0x3b64 + 99;

export const gen: Section = {
  name: 'GEN',
  title: 'Unknown commands, and replies that cannot be written',
  size: 5,
  items: [
    item('GEN-1', 'An unknown command on a container without a model: EINVAL.', (w) => {
      w.is(w.ioctl(w.container(), UNKNOWN, 0), E.INVAL, 'empty container');
      const container = w.container();
      w.is(w.setContainer(w.group(machine.edu), container), 0, 'SET_CONTAINER');
      w.is(w.ioctl(container, UNKNOWN, 0), E.INVAL, 'container with a group');
    }),
    item('GEN-2', 'An unknown command on a container with a model: ENOTTY.', (w) => {
      w.is(w.ioctl(w.ready(machine.edu).container, UNKNOWN, 0), E.NOTTY, 'type1 v2');
    }),
    item('GEN-3', 'An unknown command on a group or a device: ENOTTY.', (w) => {
      const { group, device } = w.device(machine.edu);
      w.is(w.ioctl(group, UNKNOWN, 0), E.NOTTY, 'group');
      w.is(w.ioctl(device, UNKNOWN, 0), E.NOTTY, 'device');
    }),
    item(
      'GEN-4',
      'An unknown command on an iommufd goes to the VFIO compatibility switch, and comes back as ENOTTY.',
      (w) => {
        const { fd } = new Iommufd(w);
        for (const request of [UNKNOWN, 0x3b68, 0x3bf0]) w.is(w.ioctl(fd, request, 0), E.NOTTY, request.toString(16));
        w.is(w.ioctl(fd, 0x3b64), 0, 'GET_API_VERSION, which that switch knows');
      },
      { from: '6.2', needs: 'iommufd' },
    ),
    changed(
      'GEN-5',
      'A reply that cannot be written back, into memory that is read-only: EFAULT. Before 4.6 the count of bytes left.',
      {
        from: '4.6',
        run: (w) => {
          const { container, device } = w.device(machine.edu);
          const address = w.around.readOnlyAddress;
          w.is(w.ioctl(device, 0x3b6b, address), E.FAULT, 'DEVICE_GET_INFO');
          w.is(w.ioctl(container, 0x3b70, address), E.FAULT, 'IOMMU_GET_INFO');
        },
      },
    ),
  ],
};
