import { describe, expect, it } from 'vitest';
import * as commands from './commands.js';

const words = (entry: Uint32Array) => Object.fromEntries(Object.entries([...entry]).filter(([, word]) => word !== 0));
const at = { low: 0x5000, high: 0x12 };

describe('commands', () => {
  it('are 64 bytes', () => {
    expect(commands.command(6).byteLength).toBe(commands.ENTRY_BYTES);
    expect(1 << commands.ENTRY_SHIFT).toBe(commands.ENTRY_BYTES);
    expect(1 << commands.COMPLETION_SHIFT).toBe(commands.COMPLETION_BYTES);
  });

  it('Identify names the namespace, the structure and the page', () => {
    expect(words(commands.identify(commands.Cns.activeNamespaces, 9, at))).toEqual({
      0: 6,
      1: 9,
      6: 0x5000,
      7: 0x12,
      10: 2,
    });
  });

  it('Create I/O Completion Queue counts entries from 0, is contiguous, and enables the vector that it is given', () => {
    const place = { id: 5, depth: 1024, address: at };
    expect(words(commands.createCompletionQueue(place, 3))).toEqual({
      0: 5,
      6: 0x5000,
      7: 0x12,
      10: 0x03ff0005,
      11: 0x00030003,
    });
    expect(commands.createCompletionQueue(place, undefined)[11]).toBe(1);
    expect(commands.createCompletionQueue(place, 0)[11]).toBe(3);
    expect(commands.createCompletionQueue({ ...place, depth: 65536 }, 0)[10]).toBe(0xffff0005);
  });

  it('Create I/O Submission Queue completes to the completion queue of its own id', () => {
    expect(words(commands.createSubmissionQueue({ id: 5, depth: 2, address: at }))).toEqual({
      ...{ 0: 1, 6: 0x5000, 7: 0x12, 10: 0x00010005, 11: 0x00050001 },
    });
  });

  it('Delete I/O Queue names the queue', () => {
    expect(words(commands.deleteCompletionQueue(7))).toEqual({ 0: 4, 10: 7 });
    expect([...commands.deleteSubmissionQueue(7)].filter((word) => word !== 0)).toEqual([7]);
  });

  it('Number of Queues asks and answers 0-based, and the smaller of both counts holds', () => {
    expect(words(commands.setQueueCount(64))).toEqual({ 0: 9, 10: 7, 11: 0x003f003f });
    expect(commands.grantedQueues(0x003f_000f)).toBe(16);
    expect(commands.grantedQueues(0x0000_003f)).toBe(1);
    expect(commands.grantedQueues(0xffff_fffe)).toBe(65535);
  });
});
