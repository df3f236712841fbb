import { describe, expect, it } from 'vitest';
import { Interrupt } from './interrupt.js';
import { interrupts } from './interrupts.js';
import { FakeDevice, FakeSystem } from './testing/fake.js';

const MSI = 1;

/** Lets the event loop turn a few times. */
const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

const open = async () => {
  const fake = new FakeDevice();
  const set = await interrupts(fake.device).enable('msi', 2);
  return { fake, set, irq: set[0], system: fake.system };
};

describe('waiting for an interrupt in the event loop', () => {
  it('takes a count that has already arrived', async () => {
    const { fake, irq } = await open();
    fake.raise(MSI, 0, 3);
    expect(await irq.once()).toBe(3);
  });

  it('waits for the first count that comes', async () => {
    const { fake, irq } = await open();
    const waiting = irq.once();
    fake.raise(MSI);
    expect(await waiting).toBe(1);
  });

  it('does not take the interrupt of another vector', async () => {
    const { fake, set } = await open();
    let first = 0;
    const waiting = set[0].once().then((count) => {
      first = count;
    });
    fake.raise(MSI, 1);
    expect(await set.vector(1).once()).toBe(1);
    expect(first).toBe(0);
    fake.raise(MSI, 0);
    await waiting;
    expect(first).toBe(1);
  });

  it('loses nothing that arrives while nobody waits, before the first wait or between two', async () => {
    const { fake, irq } = await open();
    fake.raise(MSI);
    await turns();
    fake.raise(MSI);
    expect(await irq.once()).toBe(2);
    const waiting = irq.once();
    fake.raise(MSI);
    expect(await waiting).toBe(1);
    fake.raise(MSI);
    await turns();
    fake.raise(MSI, 0, 2);
    await turns();
    expect(await irq.once()).toBe(3);
  });

  it('keeps the process alive while a wait is pending, and only then', async () => {
    const { fake, irq, system } = await open();
    const referenced = () => [...system.watches].some((watch) => watch.ref);
    expect(referenced()).toBe(false);
    const unsubscribe = irq.onInterrupt(() => {});
    expect(referenced()).toBe(false);
    const waiting = irq.once();
    expect(referenced()).toBe(true);
    fake.raise(MSI);
    await waiting;
    expect(referenced()).toBe(false);
    irq.ref();
    expect(referenced()).toBe(true);
    irq.unref();
    expect(referenced()).toBe(false);
    unsubscribe();
  });

  it('rejects with the reason of its signal, at once when that is aborted before, and gives the count to the next wait', async () => {
    const { fake, irq, system } = await open();
    const control = new AbortController();
    const waiting = irq.once({ signal: control.signal });
    control.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await expect(irq.once({ signal: control.signal })).rejects.toThrow('enough');
    expect([...system.watches].some((watch) => watch.ref)).toBe(false);
    fake.raise(MSI);
    expect(await irq.once()).toBe(1);
  });

  it('leaves no listener on the signal after a wait that succeeded', async () => {
    const { fake, irq } = await open();
    const control = new AbortController();
    let listeners = 0;
    const { signal } = control;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...given: Parameters<typeof add>) => {
      listeners++;
      add(...given);
    };
    signal.removeEventListener = (...given: Parameters<typeof remove>) => {
      listeners--;
      remove(...given);
    };
    const waiting = irq.once({ signal });
    expect(listeners).toBe(1);
    fake.raise(MSI);
    await waiting;
    expect(listeners).toBe(0);
  });

  it('gives every listener every count', async () => {
    const { fake, irq } = await open();
    const seen: number[] = [];
    irq.onInterrupt((count) => seen.push(count));
    const waits = Promise.all([irq.once(), irq.once()]);
    fake.raise(MSI, 0, 2);
    expect(await waits).toEqual([2, 2]);
    fake.raise(MSI);
    await turns();
    expect(seen).toEqual([2, 1]);
  });

  it('hands a handler what arrived before it subscribed, and nothing after it unsubscribed', async () => {
    const { fake, irq } = await open();
    fake.raise(MSI, 0, 4);
    const seen: number[] = [];
    const unsubscribe = irq.onInterrupt((count) => seen.push(count));
    await turns();
    expect(seen).toEqual([4]);
    unsubscribe();
    unsubscribe();
    fake.raise(MSI);
    await turns();
    expect(seen).toEqual([4]);
    expect(irq.take()).toBe(1);
  });

  it('does not call a handler that another handler has just taken out', async () => {
    const { fake, irq } = await open();
    let second = 0;
    let takeOut = (): void => {};
    irq.onInterrupt(() => takeOut());
    takeOut = irq.onInterrupt(() => second++);
    fake.raise(MSI);
    await turns();
    expect(second).toBe(0);
  });

  it('serves the other handlers when one throws, and lets the error out', async () => {
    const { irq } = await open();
    const seen: number[] = [];
    irq.onInterrupt(() => {
      throw new Error('mine');
    });
    irq.onInterrupt((count) => seen.push(count));
    const deliver = (irq as unknown as { deliver(count: number): void }).deliver.bind(irq);
    expect(() => deliver(1)).toThrow('mine');
    expect(seen).toEqual([1]);
  });
});

describe('for await', () => {
  it('gives what has arrived and what arrives, and sums what comes during the body', async () => {
    const { fake, irq } = await open();
    fake.raise(MSI, 0, 2);
    const seen: number[] = [];
    for await (const count of irq) {
      seen.push(count);
      if (seen.length === 1) {
        fake.raise(MSI);
        await turns();
        fake.raise(MSI);
        await turns();
      }
      if (seen.length === 2) break;
    }
    expect(seen).toEqual([2, 2]);
  });

  it('throws the reason of its signal', async () => {
    const { irq } = await open();
    const control = new AbortController();
    const loop = (async () => {
      for await (const _ of irq.events({ signal: control.signal })) throw new Error('nothing was to come');
    })();
    await turns();
    control.abort(new Error('enough'));
    await expect(loop).rejects.toThrow('enough');
  });

  it('ends without an error when the interrupt is closed', async () => {
    const { irq, set } = await open();
    let ended = false;
    const loop = (async () => {
      for await (const _ of irq) throw new Error('nothing was to come');
      ended = true;
    })();
    await turns();
    set.close();
    await loop;
    expect(ended).toBe(true);
  });

  it('lets go of the process and of the counts when the loop is left', async () => {
    const { fake, irq, system } = await open();
    fake.raise(MSI);
    for await (const count of irq) if (count > 0) break;
    expect([...system.watches].some((watch) => watch.ref)).toBe(false);
    fake.raise(MSI, 0, 5);
    await turns();
    expect(irq.take()).toBe(5);
  });
});

describe('waiting without the event loop', () => {
  it('takes what is there, and 0 when there is nothing', async () => {
    const { fake, irq } = await open();
    expect(irq.take()).toBe(0);
    fake.raise(MSI, 0, 7);
    expect(irq.take()).toBe(7);
    expect(irq.take()).toBe(0);
  });

  it('blocks until a count comes', async () => {
    const { fake, irq, system } = await open();
    system.whileBlocked = [() => fake.raise(MSI, 0, 2)];
    expect(irq.wait(100)).toBe(2);
    expect(system.now()).toBe(0);
  });

  it('answers 0 when the time is up', async () => {
    const { irq, system } = await open();
    expect(irq.wait(250)).toBe(0);
    expect(system.now()).toBe(250);
    expect(irq.wait(0)).toBe(0);
  });

  it('waits without end when told so', async () => {
    const { fake, irq, system } = await open();
    system.whileBlocked = [() => fake.raise(MSI)];
    expect(irq.wait(Number.POSITIVE_INFINITY)).toBe(1);
  });

  it.each([-1, Number.NaN])('refuses a time of %s', async (time) => {
    const { irq } = await open();
    expect(() => irq.wait(time)).toThrow(expect.objectContaining({ code: 'ERR_VFIO_ARGUMENT' }));
  });

  it('goes on after a wait that a signal of the operating system cut short', async () => {
    const { fake, irq, system } = await open();
    const poll = system.poll.bind(system);
    const answers = [-4];
    system.poll = (fd, timeout) => answers.shift() ?? poll(fd, timeout);
    system.whileBlocked = [() => fake.raise(MSI)];
    expect(irq.wait(100)).toBe(1);
  });
});

describe('closing', () => {
  it('rejects a pending wait, and every later one, with ERR_VFIO_CLOSED', async () => {
    const { irq, set, system } = await open();
    const waiting = irq.once();
    set.close();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
    await expect(irq.once()).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
    for (const use of [() => irq.take(), () => irq.wait(0), () => irq.onInterrupt(() => {}), () => irq.trigger()]) {
      expect(use).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
    }
    await expect(irq.events().next()).rejects.toMatchObject({ code: 'ERR_VFIO_CLOSED' });
    expect(system.watches.size).toBe(0);
  });
});

describe('a vector in another thread', () => {
  it('is waited for through a ticket that can be posted', async () => {
    const { fake, irq, system } = await open();
    const ticket = structuredClone(irq.share());
    using attached = Interrupt.attach(ticket, { backend: system.calls });
    system.whileBlocked = [() => fake.raise(MSI, 0, 2)];
    expect(attached.wait(100)).toBe(2);
    expect(attached.take()).toBe(0);
    const waiting = attached.once();
    fake.raise(MSI);
    expect(await waiting).toBe(1);
  });

  it('is left alone by the owner while the owner does not listen', async () => {
    const { fake, irq, system } = await open();
    using attached = Interrupt.attach(irq.share(), { backend: system.calls });
    const waiting = irq.once();
    fake.raise(MSI);
    await waiting;
    fake.raise(MSI, 0, 3);
    expect(attached.take()).toBe(3);
  });

  it('ends its wait when the owner closes', async () => {
    const { irq, set, system } = await open();
    const attached = Interrupt.attach(irq.share(), { backend: system.calls });
    system.whileBlocked = [
      () => {
        // What the owner does first, in its own thread: it cannot go on before this thread is out.
        new Int32Array(irq.share().state)[0] = 1;
        system.eventfdWrite(irq.fd, 1);
      },
    ];
    expect(() => attached.wait(1000)).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
    expect(system.counters.get(irq.fd)).toBe(1);
    set.close();
    expect(system.counters.size).toBe(0);
    expect(() => attached.take()).toThrow(expect.objectContaining({ code: 'ERR_VFIO_CLOSED' }));
  });

  it('keeps its descriptor when it does not come out of its wait', async () => {
    const { irq, set, system } = await open();
    Atomics.add(new Int32Array(irq.share().state), 1, 1);
    set.close();
    expect([...system.counters.keys()]).toEqual([irq.fd]);
    expect(irq.closed).toBe(true);
  });

  it('is refused where threads cannot share memory', async () => {
    const { irq } = await open();
    const there = globalThis.SharedArrayBuffer;
    try {
      Reflect.deleteProperty(globalThis, 'SharedArrayBuffer');
      expect(() => irq.share()).toThrow(expect.objectContaining({ code: 'ERR_VFIO_NOT_SUPPORTED' }));
    } finally {
      globalThis.SharedArrayBuffer = there;
    }
  });
});

it('keeps two systems apart', () => {
  const one = new FakeDevice({ system: new FakeSystem() });
  const other = new FakeDevice({ system: new FakeSystem() });
  expect(interrupts(one.device)).not.toBe(interrupts(other.device));
});
