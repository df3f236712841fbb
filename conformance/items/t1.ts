import type { Section } from '../src/item.js';
import { t1Info } from './t1-info.js';
import { t1Map } from './t1-map.js';
import { t1Dirty, t1Unmap } from './t1-unmap.js';

export const t1: Section = {
  name: 'T1',
  title: 'Type1 IOMMU model',
  size: 50,
  items: [...t1Info, ...t1Map, ...t1Unmap, ...t1Dirty],
};
