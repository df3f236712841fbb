import type { Section } from '../src/item.js';
import { containerItems, dirtyItems } from './ifd-container.js';
import { deviceItems, laterDeviceItems } from './ifd-device.js';
import { commandItems, fileItems, ioasItems } from './ifd-ioas.js';

export const ifd: Section = {
  name: 'IFD',
  title: 'iommufd and device files',
  size: 41,
  items: [
    ...deviceItems,
    ...commandItems,
    ...ioasItems,
    ...containerItems,
    ...fileItems,
    ...dirtyItems,
    ...laterDeviceItems,
  ],
};
