import type { ExpectedMessage } from './suite.js';

/** One line of the kernel's log. The level is known only from `dmesg -r`, not from the console. */
export interface KernelLine {
  readonly level?: number;
  readonly seconds: number;
  readonly text: string;
}

/** The words with which the guest's first program marks where the suite's program begins. */
export const startMark = 'lab: the program starts';
export const endMark = /^lab: the program ended with code (\d+)/;

/** Reads what `dmesg -r` prints. Lines that user programs wrote into the log carry a facility and are left out. */
export function readRawLog(text: string): KernelLine[] {
  const lines: KernelLine[] = [];
  for (const line of text.split('\n')) {
    const match = /^<(\d+)>\[ *(\d+\.\d+)\] (.*)$/.exec(line);
    if (!match) continue;
    const priority = Number(match[1]);
    const body = (match[3] as string).trimEnd();
    if (priority >= 8 && !body.startsWith('lab: ')) continue;
    lines.push({ level: priority >= 8 ? 6 : priority & 7, seconds: Number(match[2]), text: body });
  }
  return lines;
}

/** Reads the kernel's lines out of a serial console, where programs print too. */
export function readConsole(text: string): KernelLine[] {
  const lines: KernelLine[] = [];
  for (const line of text.split(/\r*\n/)) {
    const match = /\[ *(\d+\.\d{6})\] (.*)$/.exec(line);
    if (match) lines.push({ seconds: Number(match[1]), text: (match[2] as string).trimEnd() });
  }
  return lines;
}

/** What a healthy kernel never says, at start or later, whatever its level. */
const trouble: readonly RegExp[] = [
  /\bKernel panic\b/,
  /\bBUG\b/,
  /\bOops\b/,
  /^WARNING:/,
  /\bCall Trace:/,
  /general protection fault/,
  /unable to handle/,
  /DMAR: .*\bfault\b/i,
  /DMAR: \[(DMA|INTR-REMAP)/,
  /AMD-Vi: .*(Event logged|IO_PAGE_FAULT)/,
  /soft lockup|hard LOCKUP|Watchdog detected/,
  /rcu.*(stall|detected stalls|self-detected)/,
  /blocked for more than \d+ seconds/,
  /INFO: task .* blocked/,
  /KASAN|KFENCE|UBSAN|KCSAN|kmemleak/,
  /Redzone|Poison overwritten|Object already free|Padding overwritten/,
  /pagealloc: .*(corruption|error)/,
  /Bad page (state|map)/,
  /Out of memory|oom-kill|invoked oom-killer/,
  /refcount_t: /,
  /list_(add|del) corruption/,
  /possible (circular|recursive) locking/,
  /scheduling while atomic|sleeping function called/,
  /segfault at |traps: .* trap |general protection ip:/,
  /Buffer I\/O error|I\/O error, dev|blk_update_request/,
  /irq \d+: nobody cared/,
  /do_IRQ: .*No irq handler/,
  /hardware error|AER: .*[Ee]rror/i,
];

/** What Debian's kernels say at level 4 or below while they start in QEMU, or when a module of ours is loaded. */
const harmless: readonly RegExp[] = [
  /module verification failed: signature and\/or required key missing/,
  /loading out-of-tree module taints kernel/,
  /vfio: .*taint|vfio-noiommu device opened|Adding kernel taint for vfio-noiommu|adding kernel taint for vfio-noiommu/,
];

const begins = /------------\[ cut here \]|^BUG: |\bOops: |^general protection fault|Kernel panic - /;
const ends = /---\[ end (trace|Kernel panic)/;
/** A report in the log belongs together while its lines follow each other at once. */
const gapSeconds = 1;

/**
 * The messages that call for attention, one line for each report of the kernel: anything of the list above from the
 * start on, and once the suite's program has started also whatever the kernel logs as a warning or worse (level 4 or
 * below).
 */
export function findTrouble(lines: readonly KernelLine[]): string[] {
  const found: string[] = [];
  let started = false;
  let report: { readonly index: number; last: number; named: boolean } | undefined;
  for (const line of lines) {
    if (line.text === startMark) started = true;
    if (report && line.seconds - report.last > gapSeconds) report = undefined;
    if (report) {
      report.last = line.seconds;
      // The line after "cut here" says what it is about.
      if (!report.named && trouble.some((pattern) => pattern.test(line.text))) {
        found[report.index] = shown(line);
        report.named = true;
      }
      if (ends.test(line.text)) report = undefined;
      continue;
    }
    if (harmless.some((pattern) => pattern.test(line.text))) continue;
    const bad = trouble.some((pattern) => pattern.test(line.text));
    const warns = started && line.level !== undefined && line.level <= 4;
    const opens = begins.test(line.text);
    if (bad || warns || opens) found.push(shown(line));
    if (opens) report = { index: found.length - 1, last: line.seconds, named: bad };
  }
  return found;
}

const shown = ({ seconds, text }: KernelLine) => `[${seconds.toFixed(6)}] ${text}`;

/** Splits what was found into what the run expects and what it does not, and names what it required in vain. */
export function sortExpected(
  found: readonly string[],
  all: readonly KernelLine[],
  expected: readonly ExpectedMessage[],
): { readonly unexpected: string[]; readonly missing: ExpectedMessage[] } {
  return {
    unexpected: found.filter((text) => !expected.some(({ pattern }) => pattern.test(text))),
    missing: expected.filter(({ pattern, required }) => required && !all.some(({ text }) => pattern.test(text))),
  };
}
