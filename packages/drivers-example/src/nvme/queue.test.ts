import { describe, expect, it } from 'vitest';
import { PlainBuffer, ScriptedController } from '../testing/scripted-controller.js';
import { askClose, makeShared, mayRing } from './share.js';

const disk = { id: 1, blockSize: 512, blocks: 1n << 40n, blockCount: 2 ** 40 };
const buffer = () => new PlainBuffer(1 << 17, 0x40_0000n);
const ignore = () => {};

describe('submitting', () => {
  it('writes a whole command, whatever stood in the entry before', () => {
    const c = new ScriptedController();
    c.submission.fill(0xffffffff);
    c.queue.read(5, disk, 0x1_2345_6789, buffer(), 8);
    expect(c.entry(0)).toEqual([0x00050002, 1, 0, 0, 0, 0, 0x40_0000, 0, 0, 0, 0x2345_6789, 1, 7, 0, 0, 0]);
    c.queue.write(6, 2, 3, buffer(), 1);
    expect(c.entry(1)).toEqual([0x00060001, 2, 0, 0, 0, 0, 0x40_0000, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
    c.queue.flush(2, disk);
    expect(c.entry(2)).toEqual([0x00020000, 1, ...new Array(14).fill(0)]);
  });

  it('takes as many blocks as the buffer holds, from the offset on', () => {
    const c = new ScriptedController();
    c.queue.read(0, disk, 0, buffer());
    c.queue.read(1, disk, 0, buffer(), undefined, 4096);
    expect(c.entry(0)[12]).toBe(255);
    expect(c.entry(1).slice(6, 13)).toEqual([0x40_1000, 0, 256, 2, 0, 0, 247]);
  });

  it('puts the slot into any command as its identifier', () => {
    const c = new ScriptedController();
    const entry = new Uint32Array(16).fill(0xabcd_ef01);
    c.queue.command(4, entry);
    expect(c.entry(0)).toEqual([0x0004_ef01, ...new Array(15).fill(0xabcd_ef01)]);
  });

  it('rings once for a batch, and not at all for nothing', () => {
    const c = new ScriptedController();
    for (let slot = 0; slot < 4; slot++) c.queue.read(slot, disk, 0, buffer(), 1);
    expect(c.writes).toEqual([]);
    c.queue.ring();
    c.queue.ring();
    expect(c.writes).toEqual([[c.tailDoorbell, 4]]);
  });

  it('refuses a slot that is in flight, one that does not exist, and more commands than the ring holds', () => {
    const c = new ScriptedController({ depth: 4 });
    const submit = (slot: number) => c.queue.read(slot, disk, 0, buffer(), 1);
    submit(2);
    expect(() => submit(2)).toThrow('slot 2 is in flight');
    expect(() => submit(4)).toThrow('slots go from 0 to 3');
    expect(() => submit(-1)).toThrow('slots go from 0 to 3');
    submit(0);
    submit(1);
    expect(c.queue.free).toBe(0);
    expect(() => submit(3)).toThrow('holds no more');
    expect(c.queue.inFlight).toBe(3);
  });

  it.each([
    ['a length that is not whole blocks', 0, undefined, 65, 'not a multiple of the block size'],
    ['no block', 0, 0, 4096, 'at least one block'],
    ['more than one command moves', 0, 257, 1 << 18, 'more than one command moves'],
    ['more than the buffer holds', 0, 9, 4096, 'the buffer ends at byte 4096'],
    ['a block past the end', 2 ** 40, 1, 4096, 'the namespace has'],
    ['a negative block', -1, 1, 4096, 'not a whole number from 0 on'],
    ['a block that is no number', Number.NaN, 1, 4096, 'not a whole number from 0 on'],
    ['half a block', 1.5, 1, 4096, 'not a whole number from 0 on'],
  ])('refuses %s', (_, lba, blocks, length, message) => {
    const c = new ScriptedController();
    const submit = () => c.queue.read(0, disk, lba, new PlainBuffer(length, 0x1000n), blocks);
    expect(submit).toThrow(message);
    expect(submit).toThrow(expect.objectContaining({ code: 'ERR_NVME_ARGUMENT' }));
    expect(c.queue.inFlight).toBe(0);
  });

  it('names 65536 blocks, the most that there are, as 65535', () => {
    const c = new ScriptedController({ maxTransfer: 1 << 26 });
    c.queue.read(0, disk, 0, new PlainBuffer(1 << 25, 0x1000n), 65536);
    expect(c.entry(0)[12]).toBe(0xffff);
    expect(() => c.queue.read(1, disk, 0, new PlainBuffer(1 << 26, 0x1000n), 65537)).toThrow('65536');
  });

  it('refuses an offset that PRP1 cannot say, and a namespace it does not know', () => {
    const c = new ScriptedController();
    expect(() => c.queue.read(0, disk, 0, buffer(), 1, 2)).toThrow('not a multiple of 4');
    expect(() => c.queue.read(0, disk, 0, buffer(), 1, -4)).toThrow('not a multiple of 4');
    expect(() => c.queue.read(0, 7, 0, buffer(), 1)).toThrow('knows no namespace 7');
  });

  it('refuses a closed buffer, and writes on a read-only controller', () => {
    const c = new ScriptedController({ readOnly: true });
    const closed = buffer();
    closed.close();
    expect(() => c.queue.read(0, disk, 0, closed, 1)).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
    expect(() => c.queue.write(0, disk, 0, buffer(), 1)).toThrow('read-only');
  });

  it('takes no whole command on a read-only controller but Flush, Read and Compare', () => {
    const c = new ScriptedController({ readOnly: true, depth: 8 });
    const entry = new Uint32Array(16);
    const refused: number[] = [];
    let slot = 0;
    for (let opcode = 0; opcode < 256; opcode++) {
      entry[0] = opcode;
      try {
        c.queue.command(slot, entry);
        slot++;
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_NVME_ARGUMENT', details: { opcode } });
        refused.push(opcode);
      }
    }
    expect(slot).toBe(3);
    expect([0, 2, 5].some((opcode) => refused.includes(opcode))).toBe(false);
    // Flags beside the opcode (fused, PRP or SGL) do not hide it.
    entry[0] = 0xff00_4001;
    expect(() => c.queue.command(slot, entry)).toThrow('read-only');
  });
});

describe('polling', () => {
  it('finds nothing in a new queue', () => {
    const c = new ScriptedController();
    expect(c.queue.poll(ignore)).toBe(0);
    expect(c.writes).toEqual([]);
  });

  it('hands slot and status over in the order of completion, with dword 0 beside', () => {
    const c = new ScriptedController();
    for (const slot of [0, 1, 2]) c.queue.read(slot, disk, 0, buffer(), 1);
    c.complete(2, 0, 77);
    c.complete(0, 0x4080);
    const seen: unknown[] = [];
    expect(c.queue.poll((slot, status) => seen.push([slot, status, c.queue.result]))).toBe(2);
    expect(seen).toEqual([
      [2, 0, 77],
      [0, 0x4080, 0],
    ]);
    expect(c.queue.inFlight).toBe(1);
  });

  it('rings the completion doorbell before the submission doorbell, each once', () => {
    const c = new ScriptedController();
    for (const slot of [0, 1]) c.queue.read(slot, disk, 0, buffer(), 1);
    c.queue.ring();
    c.writes.length = 0;
    c.complete(0);
    c.complete(1);
    const memory = buffer();
    c.queue.poll((slot) => c.queue.read(slot, disk, 1, memory, 1));
    expect(c.writes).toEqual([
      [c.headDoorbell, 2],
      [c.tailDoorbell, 4],
    ]);
  });

  it('takes no more than it is asked for', () => {
    const c = new ScriptedController();
    for (const slot of [0, 1, 2]) c.queue.read(slot, disk, 0, buffer(), 1);
    for (const slot of [0, 1, 2]) c.complete(slot);
    expect(c.queue.poll(ignore, 2)).toBe(2);
    expect(c.queue.poll(ignore, 2)).toBe(1);
  });

  it('goes round both rings many times by the phase tag', () => {
    const c = new ScriptedController({ depth: 5 });
    const memory = buffer();
    let done = 0;
    for (let round = 0; round < 103; round++) {
      const slot = round % 5;
      c.queue.read(slot, disk, round, memory, 1);
      c.queue.ring();
      expect(c.writes.at(-1)).toEqual([c.tailDoorbell, (round + 1) % 5]);
      expect(c.entry(round % 5)[10]).toBe(round);
      c.complete(slot);
      expect(c.queue.poll((finished) => (done += Number(finished === slot)))).toBe(1);
      expect(c.queue.poll(ignore)).toBe(0);
      expect(c.writes.at(-1)).toEqual([c.headDoorbell, (round + 1) % 5]);
    }
    expect(done).toBe(103);
  });

  it('skips and counts completions of commands that nobody sent', () => {
    const c = new ScriptedController();
    c.complete(3);
    c.complete(0xffff);
    expect(
      c.queue.poll(() => {
        throw new Error('called');
      }),
    ).toBe(2);
    expect(c.queue.strays).toBe(2);
    expect(c.queue.inFlight).toBe(0);
  });

  it('stays coherent when the handler throws: the completion is taken, the next poll goes on', () => {
    const c = new ScriptedController();
    for (const slot of [0, 1]) c.queue.read(slot, disk, 0, buffer(), 1);
    c.complete(0);
    c.complete(1);
    const thrower = () => {
      throw new Error('mine');
    };
    expect(() => c.queue.poll(thrower)).toThrow('mine');
    const seen: number[] = [];
    c.queue.poll((slot) => seen.push(slot));
    expect(seen).toEqual([1]);
    expect(c.writes.at(-2)).toEqual([c.headDoorbell, 2]);
  });

  it('tells the controller in the next poll of a completion whose handler threw, also where nothing new came', () => {
    const c = new ScriptedController();
    c.queue.read(0, disk, 0, buffer(), 1);
    c.queue.ring();
    c.writes.length = 0;
    c.complete(0);
    const thrower = () => {
      throw new Error('mine');
    };
    expect(() => c.queue.poll(thrower)).toThrow('mine');
    expect(c.queue.poll(ignore)).toBe(0);
    expect(c.writes).toEqual([[c.headDoorbell, 1]]);
  });
});

describe('a command that does not come back', () => {
  const untilThrown = (c: ScriptedController): unknown => {
    for (let i = 0; i < 1e6; i++) {
      try {
        c.queue.poll(ignore);
      } catch (error) {
        return error;
      }
    }
    throw new Error('it never threw');
  };

  it('is a time-out by a clock that is read once in 64 empty polls, and its slot stays taken', () => {
    const c = new ScriptedController({ timeout: 1000 });
    c.clock = 1e6; // the clock stood here long before the command was sent
    c.tick = 1;
    c.queue.read(1, disk, 0, buffer(), 1);
    expect(untilThrown(c)).toMatchObject({
      code: 'ERR_NVME_TIMEOUT',
      details: { queue: 3, slots: [1], timeout: 1000 },
    });
    const reads = c.clock - 1e6;
    expect(reads).toBeGreaterThan(1000);
    expect(reads).toBeLessThan(1300);
    expect(() => c.queue.read(1, disk, 0, buffer(), 1)).toThrow('slot 1 is in flight');
  });

  it('frees its slot when it comes late, without calling the handler', () => {
    const c = new ScriptedController({ timeout: 10 });
    c.tick = 5;
    c.queue.read(1, disk, 0, buffer(), 1);
    untilThrown(c);
    c.complete(1);
    const seen: number[] = [];
    expect(c.queue.poll((slot) => seen.push(slot))).toBe(1);
    expect(seen).toEqual([]);
    expect(c.queue.inFlight).toBe(0);
    c.queue.read(1, disk, 0, buffer(), 1);
  });

  it.each([
    ['all-ones', 0xffffffff, 'ERR_VFIO_DEVICE_GONE'],
    ['a fatal state', 3, 'ERR_NVME_FATAL'],
    ['that it was disabled', 0, 'ERR_VFIO_CLOSED'],
  ])('is looked into: the controller may say %s', (_, csts, code) => {
    const c = new ScriptedController();
    c.queue.read(0, disk, 0, buffer(), 1);
    c.csts = csts;
    expect(untilThrown(c)).toMatchObject({ code });
  });
});

describe('closing a queue', () => {
  it('refuses everything afterwards, and releases once', async () => {
    const c = new ScriptedController();
    c.queue.close();
    await c.queue[Symbol.asyncDispose]();
    expect(c.released).toBe(1);
    for (const act of [
      () => c.queue.poll(ignore),
      () => c.queue.read(0, disk, 0, buffer(), 1),
      () => c.queue.ring(),
      () => c.queue.share(),
    ]) {
      expect(act).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
    }
  });

  it('rings no doorbell any more: they may be those of another queue by then', () => {
    const c = new ScriptedController();
    for (const slot of [0, 1]) c.queue.read(slot, disk, 0, buffer(), 1);
    c.queue.ring();
    c.writes.length = 0;
    c.complete(0);
    expect(c.queue.poll(() => c.queue.close())).toBe(1);
    expect(() => c.queue.ring()).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
    expect(c.writes).toEqual([]);
  });

  it('that a Worker holds rings nothing once the owner asked for it, and lets go at the next batch', () => {
    const shared = makeShared();
    const c = new ScriptedController({ shared });
    c.queue.read(0, disk, 0, buffer(), 1);
    c.queue.ring();
    c.writes.length = 0;
    c.complete(0);
    c.queue.read(1, disk, 0, buffer(), 1);
    askClose(shared);
    const seen: number[] = [];
    const closed = expect.objectContaining({ code: 'ERR_VFIO_CLOSED', summary: 'Queue 3 was closed by its owner.' });
    expect(() => c.queue.poll((slot) => seen.push(slot))).toThrow(closed);
    expect(() => c.queue.ring()).toThrow(closed);
    expect([seen, c.writes, c.released, mayRing(shared)]).toEqual([[0], [], 1, false]);
  });

  it('that a Worker is ringing just now is known to be rung', () => {
    const shared = makeShared();
    const c = new ScriptedController({ shared });
    const ringing: boolean[] = [];
    c.onWrite = () => ringing.push(mayRing(shared));
    c.queue.read(0, disk, 0, buffer(), 1);
    expect(mayRing(shared)).toBe(false);
    c.queue.ring();
    expect(ringing).toEqual([true]);
    expect(mayRing(shared)).toBe(false);
  });

  it('that failed says why it failed', () => {
    const c = new ScriptedController();
    c.csts = 3;
    let failure: Error | undefined;
    try {
      c.queue.read(0, disk, 0, buffer(), 1);
      c.queue.look();
    } catch (error) {
      failure = error as Error;
    }
    c.queue.fail(failure!);
    expect(() => c.queue.poll(ignore)).toThrow(expect.objectContaining({ code: 'ERR_NVME_FATAL', cause: failure }));
  });

  it('cannot be handed over with commands in flight, nor where the doorbells cannot be mapped', () => {
    const c = new ScriptedController();
    expect(() => c.queue.share()).toThrow(expect.objectContaining({ code: 'ERR_VFIO_NOT_SUPPORTED' }));
    c.queue.read(0, disk, 0, buffer(), 1);
    expect(() => c.queue.share()).toThrow('commands are in flight');
  });
});
