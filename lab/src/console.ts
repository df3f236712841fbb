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
  for (const line of text.split(/\r?\n/)) {
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
  /INFO: rcu.*\bstalls?\b/,
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

/** Warnings that belong to what the lab itself does. */
const harmless: readonly RegExp[] = [
  /module verification failed: signature and\/or required key missing/,
  /loading out-of-tree module taints kernel/,
  // The kernel's way of saying that no-IOMMU mode is in use.
  /Adding kernel taint for vfio-noiommu group/,
  /vfio-noiommu device opened by user/,
  // From 6.10: a function without a reset of its own, behind a hotplug port, is reset through its slot, whose port nobody locks.
  /^pcieport \S+ unlocked secondary bus reset via: pciehp_reset_slot\+/,
  // A machine in software, on a host that is busy, is late with its timer interrupts.
  /hrtimer: interrupt took \d+ ns/,
  /clocksource: Long readout interval, skipping watchdog check/,
  /^sched: (RT throttling activated|DL replenish lagged too much)$/,
];

const begins = /------------\[ cut here \]|^BUG: |^={20,}$|\bOops: |^general protection fault|Kernel panic - /;
const ends = /---\[ end (trace|Kernel panic)|^FIX \S+: /;
/** Lines that are the inside of a report although they look like one of their own, or follow its end. */
const body =
  /Call Trace:|^(Redzone|Object|Padding|Poison) |\bOops: |^(RIP|RSP|R[A-D]X|RBP|R\d\d|[FCD]S|CR\d|DR\d|PKRU|Code|note): ?/;
/** A report in the log belongs together while its lines follow each other at once. */
const gapSeconds = 1;

interface OpenReport {
  readonly index: number;
  last: number;
  /** Whether the line that says what it is about has been seen. */
  named: boolean;
  ended: boolean;
}

/**
 * The messages that call for attention, one line for each report of the kernel: anything of the list above from the
 * start on, and once the suite's program has started also whatever the kernel logs as a warning or worse (level 4 or
 * below).
 */
export function findTrouble(lines: readonly KernelLine[]): string[] {
  const found: string[] = [];
  let started = false;
  let report: OpenReport | undefined;
  for (const line of lines) {
    if (line.text === startMark) started = true;
    if (report && line.seconds - report.last > gapSeconds) report = undefined;
    const bad = trouble.some((pattern) => pattern.test(line.text));
    if (report && (body.test(line.text) || !(bad || report.ended))) {
      report.last = line.seconds;
      if (ends.test(line.text)) report.ended = true;
      continue;
    }
    // The line after "cut here" says what the report is about: it takes that line's place.
    if (report && !report.named && !report.ended) {
      found[report.index] = shown(line);
      report.named = true;
      continue;
    }
    if (harmless.some((pattern) => pattern.test(line.text))) continue;
    const opens = begins.test(line.text);
    const warns = started && line.level !== undefined && line.level <= 4;
    if (bad || warns || opens) found.push(shown(line));
    if (opens) report = { index: found.length - 1, last: line.seconds, named: bad, ended: false };
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
