import { ctr } from '../items/ctr.js';
import { gen } from '../items/gen.js';
import { grp } from '../items/grp.js';
import { ifd } from '../items/ifd.js';
import { life } from '../items/life.js';
import { noi } from '../items/noi.js';
import { t1 } from '../items/t1.js';
import type { Section } from './item.js';

export const sections: readonly Section[] = [gen, ctr, grp, noi, t1, life, ifd];
