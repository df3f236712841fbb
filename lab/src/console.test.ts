import { describe, expect, it } from 'vitest';
import { findTrouble, readConsole, readRawLog, sortExpected, startMark } from './console.js';

const log = (...lines: readonly (readonly [level: number, seconds: number, text: string])[]) =>
  lines.map(([level, seconds, text]) => ({ level, seconds, text }));

describe('reading the log', () => {
  it('takes level, time and text from dmesg -r', () => {
    expect(readRawLog('<4>[    5.009666] WARNING: CPU: 1\n<6>[   12.000001] fine\r\n')).toEqual([
      { level: 4, seconds: 5.009666, text: 'WARNING: CPU: 1' },
      { level: 6, seconds: 12.000001, text: 'fine' },
    ]);
  });

  it('leaves out what programs wrote into the log, but for the marks of the lab', () => {
    const text = `<12>[    1.000000] a program says BUG: no\n<12>[    2.000000] ${startMark}\n`;
    expect(readRawLog(text)).toEqual([{ level: 6, seconds: 2, text: startMark }]);
  });

  it('finds the lines of the kernel between the output of programs on the console', () => {
    const text =
      'hello WARNING: from a program\r\nhalf a line[    3.500000] Kernel panic - not syncing: x\r\r\nend\r\n';
    expect(readConsole(text)).toEqual([{ seconds: 3.5, text: 'Kernel panic - not syncing: x' }]);
  });
});

describe('finding trouble', () => {
  const each: readonly string[] = [
    'DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x800000 [fault reason 0x05] PTE Write access',
    'DMAR: DRHD: handling fault status reg 2',
    'watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [node:131]',
    'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:',
    'rcu: INFO: rcu_sched self-detected stall on CPU',
    'watchdog: BUG: soft lockup - CPU#1 stuck for 62s! [node:131]',
    'INFO: task node:131 blocked for more than 120 seconds.',
    'BUG: KASAN: use-after-free in vfio_main',
    'node[131]: segfault at 10 ip 0000000000401136 sp 00007ffd error 6 in node',
    'traps: node[131] general protection fault ip:401136 sp:7ffd error:0 in node',
    'nvme0n1: I/O error, dev nvme0n1, sector 0 op 0x0:(READ)',
    'Out of memory: Killed process 131 (node)',
    'BUG: Bad page state in process node  pfn:3a001',
    'refcount_t: underflow; use-after-free.',
  ];
  for (const text of each) {
    it(`sees "${text.slice(0, 40)}" whatever its level and whenever it comes`, () => {
      expect(findTrouble([{ seconds: 1, text }])).toEqual([`[1.000000] ${text}`]);
      expect(findTrouble(log([6, 1, text]))).toEqual([`[1.000000] ${text}`]);
    });
  }

  it('sees any message of level warning or worse, but only after the program has started', () => {
    const lines = log(
      [4, 1, 'ACPI: some old table'],
      [6, 2, startMark],
      [6, 3, 'an information'],
      [5, 4, 'a notice'],
      [4, 5, 'a warning'],
      [3, 6, 'an error'],
    );
    expect(findTrouble(lines)).toEqual(['[5.000000] a warning', '[6.000000] an error']);
  });

  it('lets pass what loading modules of our own build and no-IOMMU mode always bring', () => {
    const lines = log(
      [6, 1, startMark],
      [4, 2, 'vfio: loading out-of-tree module taints kernel.'],
      [4, 3, 'vfio-pci 0000:01:00.0: Adding kernel taint for vfio-noiommu group on device'],
      [4, 4, 'vfio-pci 0000:01:00.0: vfio-noiommu device opened by user (node:131)'],
    );
    expect(findTrouble(lines)).toEqual([]);
  });

  it('lets pass what only a slow machine makes the kernel say, and what names a limit without its being reached', () => {
    const lines = log(
      [5, 0, 'Command line: console=ttyS0 watchdog_thresh=30 rcupdate.rcu_cpu_stall_timeout=120'],
      [6, 0, '\tRCU CPU stall warnings timeout set to 120 (rcu_cpu_stall_timeout).'],
      [6, 1, startMark],
      [4, 2, 'hrtimer: interrupt took 26587648 ns'],
      [4, 3, 'sched: RT throttling activated'],
      [4, 4, 'sched: DL replenish lagged too much'],
      [4, 5, 'pcieport 0000:00:10.0: unlocked secondary bus reset via: pciehp_reset_slot+0x98/0x140'],
    );
    expect(findTrouble(lines)).toEqual([]);
  });

  it('makes one message of a WARNING with its trace, named by the line that says where', () => {
    const lines = log(
      [4, 5, '------------[ cut here ]------------'],
      [4, 5, 'planted warning'],
      [4, 5, 'WARNING: CPU: 1 PID: 132 at plant.c:13 plant_init+0x2c/0x1000 [plant]'],
      [4, 5, 'RIP: 0010:plant_init+0x2c/0x1000 [plant]'],
      [4, 5, 'Call Trace:'],
      [4, 5, ' do_one_initcall+0x56/0x220'],
      [4, 5, '---[ end trace 0000000000000000 ]---'],
      [4, 5, 'RIP: 0010:plant_init+0x2c/0x1000 [plant]'],
      [4, 5, 'R13: 0000000000000000 R14: 0000000000000000'],
    );
    expect(findTrouble(lines)).toEqual([
      '[5.000000] WARNING: CPU: 1 PID: 132 at plant.c:13 plant_init+0x2c/0x1000 [plant]',
    ]);
  });

  it('does not lose other trouble inside a report, nor a warning right after it', () => {
    const fault = 'DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0x1000';
    const lines = log(
      [6, 4, startMark],
      [4, 5, '------------[ cut here ]------------'],
      [4, 5, 'WARNING: CPU: 1 PID: 132 at plant.c:13'],
      [3, 5, fault],
      [4, 5, '---[ end trace 0000000000000000 ]---'],
      [4, 5.1, 'something else'],
    );
    expect(findTrouble(lines)).toEqual([
      '[5.000000] WARNING: CPU: 1 PID: 132 at plant.c:13',
      `[5.000000] ${fault}`,
      '[5.100000] something else',
    ]);
  });

  it('makes one message of the report on a write after free', () => {
    const lines = log(
      [6, 4, startMark],
      [3, 5, '============================================================================='],
      [3, 5, 'BUG kmalloc-64 (Tainted: G           OE     ): Poison overwritten'],
      [3, 5, '-----------------------------------------------------------------------------'],
      [3, 5, 'Redzone  ff24d4c543437300: bb bb bb bb bb bb bb bb'],
      [4, 5, 'Call Trace:'],
      [3, 5, 'FIX kmalloc-64: Restoring Poison 0xff24d4c543437348-0xff24d4c543437348=0x6b'],
    );
    expect(findTrouble(lines)).toEqual([
      '[5.000000] BUG kmalloc-64 (Tainted: G           OE     ): Poison overwritten',
    ]);
  });
});

describe('what a run expects', () => {
  const found = ['[1.000000] DMAR: fault addr 0x1000', '[2.000000] something else'];
  const all = [{ seconds: 3, text: 'an information that is required' }];

  it('takes expected messages out and keeps the rest', () => {
    const expected = [{ pattern: /DMAR: fault addr 0x1000/, reason: 'the test asks for it' }];
    expect(sortExpected(found, all, expected)).toEqual({ unexpected: ['[2.000000] something else'], missing: [] });
  });

  it('names a required message that did not come, at whatever level it was to come', () => {
    const came = { pattern: /is required/, reason: 'a', required: true };
    const absent = { pattern: /never said/, reason: 'b', required: true };
    const optional = { pattern: /never said either/, reason: 'c' };
    expect(sortExpected([], all, [came, absent, optional]).missing).toEqual([absent]);
  });
});
