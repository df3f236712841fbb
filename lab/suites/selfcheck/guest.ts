import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { command, loadModule, note, program, test } from '../guest.js';

const planted = process.env.LAB_PLANT as string;

/** What each run does; none of these is noticed by the guest's own tests, but for `failed-test`. */
const plants: Readonly<Record<string, () => unknown>> = {
  'iommu-fault': () => command(program('dma'), '/sys/bus/pci/devices/0000:01:00.0'),
  warning: () => loadModule('plant', 'how=warning'),
  message: () => loadModule('plant', 'how=message'),
  // insmod itself is killed.
  oops: () => spawnSync('insmod', [`/run/lab/modules/${command('uname', '-r').trim()}/kernel/plant.ko`, 'how=oops']),
  'use-after-free': () => {
    loadModule('plant', 'how=use-after-free');
    writeFileSync('/sys/kernel/slab/kmalloc-64/validate', '1');
  },
  panic: () => writeFileSync('/proc/sysrq-trigger', 'c'),
  hang: () => {
    for (;;);
  },
  endless: async () => {
    for (;;) {
      note('still here');
      await sleep(500);
    }
  },
  'failed-test': () => {
    throw new Error('planted failure');
  },
  'early-end': () => process.exit(0),
  'missing-message': () => undefined,
};

test('planted', plants[planted] as () => unknown);
test('and another test', () => undefined);
