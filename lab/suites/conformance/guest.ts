import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { bind } from 'vfio-pci';
import type { Mode, Rights } from '../../../conformance/src/item.js';
import { type Helpers, linuxTarget } from '../../../conformance/src/linux.js';
import { applies, type Outcome, runSections } from '../../../conformance/src/run.js';
import { sections } from '../../../conformance/src/sections.js';
import { machine } from '../../../conformance/src/world.js';
import { check, field, loadModule, mode, program, run, test } from '../guest.js';

const target: Mode = run.startsWith('no-remapping') ? 'no remapping' : run.startsWith('mixed') ? 'mixed' : mode;
const allRights: readonly Rights[] = ['all', 'no CAP_IPC_LOCK', 'no CAP_SYS_RAWIO', 'no CAP_SYS_RESOURCE'];
const dropped = (rights: Rights): string => rights.replace('no CAP_', '').toLowerCase();

const helpers: Helpers = { heir: program('heir'), loadModule };

// This file again, in a process with fewer rights: prints what came of one section, and ends.
const [name, rights] = (process.env.CONFORMANCE_PART ?? '').split('/');
if (name !== '' && rights !== undefined) {
  const chosen = sections.filter((section) => section.name === name);
  const outcomes = await runSections(chosen, linuxTarget(target, rights as Rights, helpers));
  console.log(`outcomes ${JSON.stringify(outcomes)}`);
  process.exit(0);
}

/** Runs a section with these rights in a process of its own. */
function part(section: string, rights: Rights): Outcome[] {
  const words = [process.execPath, process.argv[1] as string];
  if (rights !== 'all') {
    const capability = dropped(rights);
    words.unshift('setpriv', `--bounding-set=-${capability}`, `--inh-caps=-${capability}`);
  }
  const { status, stdout, stderr, signal } = spawnSync(words[0] as string, words.slice(1), {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    env: { ...process.env, CONFORMANCE_PART: `${section}/${rights}`, LAB_RESULTS: '/dev/null' },
  });
  const line = /^outcomes (.*)$/m.exec(stdout);
  check(line !== null, `the process of ${section} ended with ${signal ?? status}: ${stderr}`);
  return JSON.parse(line[1] as string) as Outcome[];
}

test('the machine is as the items want it', () => {
  loadModule('pci-stub');
  // Before anything was opened: only here can the taint be seen to come with the first bind.
  const tainted = () => (Number(readFileSync('/proc/sys/kernel/tainted', 'utf8')) & 64) !== 0;
  check(!tainted(), '[NOI-9] tainted before the first bind');
  for (const address of [machine.edu, ...machine.pair, machine.nvme])
    if (existsSync(`/sys/bus/pci/devices/${address}`)) bind(address);
  check(tainted() === (mode === 'noiommu'), '[NOI-9] a bind taints without an IOMMU, and only so');
  // No driver by itself, also when that of the host comes.
  const sriov = `/sys/bus/pci/devices/${machine.sriov}/driver_override`;
  if (existsSync(sriov)) writeFileSync(sriov, 'none');
  loadModule('nvme');
  field('kernel', release());
});

const only = (process.env.CONFORMANCE_SECTIONS ?? '').split(',').filter(Boolean);
const results: Record<string, readonly Outcome[]> = {};
for (const section of sections.filter(({ name }) => only.length === 0 || only.includes(name))) {
  const facts = linuxTarget(target, 'all', helpers);
  const variants = section.items.flatMap((item) => item.variants);
  const needed = allRights.filter((rights) =>
    variants.some((variant) => applies(variant, { ...facts, rights: [rights] })),
  );
  for (const rights of needed) {
    test(
      `section ${section.name}, ${rights === 'all' ? 'as root' : rights}`,
      () => {
        const outcomes = part(section.name, rights);
        results[section.name] = [...(results[section.name] ?? []), ...outcomes];
        field('outcomes', Object.values(results).flat());
        const failed = outcomes.filter(({ failure }) => failure !== undefined);
        check(
          failed.length === 0,
          failed.map(({ item, variant, failure }) => `[${item}] variant ${variant + 1}: ${failure}`).join('\n'),
        );
      },
      { seconds: 600 },
    );
  }
}
