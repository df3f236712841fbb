import type { AllocateOptions, ClosePhase, Device, DmaSpace, RegisterWindow, SystemCalls } from 'vfio-core';
import { MappedWindow } from 'vfio-core';
import type { DeviceFactory, DeviceModel } from '../../../vfio-sim/src/model/contract.js';
import { ModelBus } from '../../../vfio-sim/src/testing/model-bus.js';
import { PlainBuffer } from './scripted-controller.js';

/** An open device straight on a model, without a kernel: polled only. */
export function modelDevice(factory: DeviceFactory) {
  const bus = new ModelBus({ memory: 1 << 26, interruptMode: 'none' });
  const model: DeviceModel = factory(bus);
  const config = model.config.config.slice();
  const system = {
    now: () => {
      bus.advance(0.05);
      return bus.now();
    },
    sleep: async (ms: number) => {
      bus.advance(ms);
      await new Promise((r) => setImmediate(r));
    },
    storeBarrier: () => {},
    pageSize: 4096,
  } as unknown as SystemCalls;
  const steps: Record<string, (() => void)[]> = {};
  const open = new Set<object>();
  const dma = {
    kind: 'iova',
    pageSize: 4096,
    ranges: [],
    closed: false,
    allocate: (bytes: number, _options?: AllocateOptions) => {
      const { bytes: memory, address } = bus.allocate(bytes);
      const buffer = new PlainBuffer(bytes, address);
      Object.defineProperty(buffer, 'bytes', { value: memory });
      open.add(buffer);
      const close = buffer.close.bind(buffer);
      buffer.close = () => {
        open.delete(buffer);
        close();
      };
      return buffer;
    },
  } as unknown as DmaSpace;
  const window = (base: number, length: number): RegisterWindow =>
    ({
      length,
      closed: false,
      read32: (o: number) => model.read(0, base + o, 4),
      write32: (o: number, v: number) => model.write(0, base + o, 4, v),
      close() {},
    }) as unknown as RegisterWindow;
  const channel = {
    system,
    fd: 3,
    closed: false,
    info: () => ({ flags: 2, resettable: true, pci: true, regionCount: 9, irqCount: 5 }),
    region: (index: number) => ({
      index,
      size: index === 0 ? model.config.bars[0]!.size : index === 7 ? config.length : 0,
      readable: true,
      writable: true,
      mappable: index === 0,
      mappableAreas: index === 0 ? [{ offset: 0, size: model.config.bars[0]!.size }] : [],
      fileOffset: 0,
    }),
    read: (_r: number, offset: number, into: Uint8Array) => into.set(config.subarray(offset, offset + into.length)),
    write: (_r: number, offset: number, from: Uint8Array) => config.set(from, offset),
    window: (r: number, offset: number, length: number) =>
      r === 7 ? new MappedWindow(config.subarray(offset, offset + length)) : window(offset, length),
    irq: (index: number) => ({ index, count: 0 }),
    checkAlive() {},
  };
  const device = {
    channel,
    address: '0000:01:00.0',
    dma,
    closed: false,
    onClose: (phase: ClosePhase, step: () => void) => {
      steps[phase] = [...(steps[phase] ?? []), step];
      return () => {};
    },
    close() {
      if (this.closed) return;
      this.closed = true;
      for (const p of ['interrupts', 'bus master', 'windows', 'device', 'memory'])
        for (const s of (steps[p] ?? []).reverse()) s();
      for (const buffer of [...open]) (buffer as { close(): void }).close();
    },
    async [Symbol.asyncDispose]() {
      this.close();
    },
  };
  return { device: device as unknown as Device, model, bus, open };
}
