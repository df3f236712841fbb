/**
 * The cases' controller as QEMU's `nvme` device, with no guest at all: QEMU's processor stands still, and register accesses
 * come over its test protocol, by two named pipes. Guest memory is a file, read and written here.
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RegisterWindow } from 'vfio-core';
import type { RawMemory, RawNvme } from './raw.js';

const memoryBytes = 128 << 20;
/** Below it firmware tables would stand, if there were any. */
const firstAddress = 16 << 20;
const device = 4;
const bar = 0xe000_0000n;
const table = 0x2000;
/** Where MSI-X messages of vector n arrive: 4 bytes each. */
const mailbox = 8 << 20;
const vectors = 16;
const config = { command: 0x04, status: 0x06, bar0: 0x10, express: 0x80, msix: 0x40 };

interface Region {
  readonly at: number;
  readonly bytes: Uint8Array;
  /** What the file held when it was last looked at. */
  readonly seen: Uint8Array;
}

export class NvmeOnQemu implements RawNvme {
  readonly kind = 'qemu';
  /** Nothing answers there. */
  readonly unreachable = 0x7_0000_0000n;
  readonly registers: RegisterWindow;
  private readonly regions = new Set<Region>();
  private readonly counts = new Array<number>(vectors).fill(0);
  private readonly folder: string;
  private readonly process: ChildProcess;
  private readonly memoryFile: number;
  private readonly input: number;
  private readonly output: number;
  private rest = '';
  private next = firstAddress;
  private mode: 'msix' | 'intx' = 'msix';

  constructor(program = 'qemu-system-x86_64') {
    this.folder = mkdtempSync(join(tmpdir(), 'nvme-behaviour-'));
    const path = (name: string) => join(this.folder, name);
    this.memoryFile = openSync(path('memory'), 'wx+');
    ftruncateSync(this.memoryFile, memoryBytes);
    for (const name of ['disk1', 'disk2']) {
      writeFileSync(path(name), '');
      const fd = openSync(path(name), 'r+');
      ftruncateSync(fd, 16 << 20);
      closeSync(fd);
    }
    // What the processor finds at its reset address: cli, hlt, and back.
    const firmware = new Uint8Array(65536);
    firmware.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
    writeFileSync(path('halt'), firmware);
    execFileSync('mkfifo', [path('q.in'), path('q.out')]);
    const disk = (n: number, blockSize: number) => [
      '-blockdev',
      `driver=file,node-name=d${n},filename=${path(`disk${n}`)},discard=unmap`,
      '-device',
      `nvme-ns,drive=d${n},nsid=${n},logical_block_size=${blockSize},physical_block_size=${blockSize}`,
    ];
    this.process = spawn(
      program,
      [
        ...['-machine', 'q35,accel=tcg,memory-backend=ram', '-nodefaults', '-display', 'none'],
        ...['-m', '128M', '-object', `memory-backend-file,id=ram,size=128M,mem-path=${path('memory')},share=on`],
        ...['-bios', path('halt')],
        ...['-qtest', `pipe:${path('q')}`, '-qtest-log', '/dev/null'],
        ...['-device', `nvme,serial=behaviour,addr=0${device}.0`, ...disk(1, 512), ...disk(2, 4096)],
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    // Opening a named pipe waits for the other side.
    this.input = openSync(path('q.in'), 'w');
    this.output = openSync(path('q.out'), 'r');
    this.registers = new QemuWindow(this);
    this.configure();
  }

  /** Ends QEMU and removes its files. */
  close(): void {
    this.process.kill('SIGKILL');
    for (const fd of [this.input, this.output, this.memoryFile]) closeSync(fd);
    rmSync(this.folder, { recursive: true, force: true });
  }

  memory(bytes: number): RawMemory {
    const at = this.next;
    this.next += Math.ceil(bytes / 4096) * 4096;
    if (this.next > memoryBytes) throw new Error('out of guest memory');
    const region = { at, bytes: new Uint8Array(bytes), seen: new Uint8Array(bytes) };
    writeSync(this.memoryFile, region.bytes, 0, bytes, at);
    this.regions.add(region);
    return {
      bytes: region.bytes,
      address: BigInt(at),
      close: () => {
        this.regions.delete(region);
        if (this.regions.size === 0) this.next = firstAddress;
      },
    };
  }

  async wait(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.pull();
    this.collect();
  }

  useInterrupts(mode: 'msix' | 'intx'): void {
    this.mode = mode;
    this.configure();
  }

  interrupts(vector: number): number {
    if (this.mode === 'intx') return (this.configRead(config.status) >>> 3) & 1;
    this.collect();
    return this.counts[vector] ?? 0;
  }

  resetFunction(): void {
    this.configWrite(config.express + 8, 0x8000);
    this.configure();
  }

  access(line: string): bigint {
    this.push();
    const value = BigInt(this.command(line).split(' ')[1] ?? '0');
    this.pull();
    return value;
  }

  /** BAR, command register, MSI-X with each vector's message to its mailbox. */
  private configure(): void {
    this.configWrite(config.bar0, Number(bar));
    this.configWrite(config.bar0 + 4, 0);
    this.configWrite(config.command, 0x0006);
    for (let vector = 0; vector < vectors; vector++) {
      const at = bar + BigInt(table + vector * 16);
      this.command(`writel 0x${at.toString(16)} 0x${(mailbox + vector * 4).toString(16)}`);
      this.command(`writel 0x${(at + 4n).toString(16)} 0x0`);
      this.command(`writel 0x${(at + 8n).toString(16)} 0x1`);
      this.command(`writel 0x${(at + 12n).toString(16)} 0x0`);
    }
    const control = this.configRead(config.msix) & 0x7fff_ffff;
    this.configWrite(config.msix, this.mode === 'msix' ? control | 0x8000_0000 : control);
  }

  /** A message is a store of 1; it is taken out again so that the next one is seen. */
  private collect(): void {
    const bytes = new Uint8Array(vectors * 4);
    readSync(this.memoryFile, bytes, 0, bytes.length, mailbox);
    for (let vector = 0; vector < vectors; vector++) {
      if (bytes[vector * 4] === 0) continue;
      this.counts[vector] = (this.counts[vector] as number) + 1;
      writeSync(this.memoryFile, new Uint8Array(4), 0, 4, mailbox + vector * 4);
    }
  }

  private configRead(register: number): number {
    this.command(`outl 0xcf8 ${0x8000_0000 + device * 0x800 + (register & ~3)}`);
    const value = Number(this.command('inl 0xcfc').split(' ')[1]);
    return register & 2 ? value >>> 16 : value;
  }

  private configWrite(register: number, value: number): void {
    this.command(`outl 0xcf8 ${0x8000_0000 + device * 0x800 + register}`);
    this.command(`outl 0xcfc 0x${(value >>> 0).toString(16)}`);
  }

  private push(): void {
    for (const { at, bytes, seen } of this.regions) {
      for (let i = 0; i < bytes.length; i++) {
        if (bytes[i] === seen[i]) continue;
        let end = i + 1;
        while (end < bytes.length && bytes[end] !== seen[end]) end++;
        writeSync(this.memoryFile, bytes, i, end - i, at + i);
        seen.set(bytes.subarray(i, end), i);
        i = end;
      }
    }
  }

  private pull(): void {
    this.push();
    for (const { at, bytes, seen } of this.regions) {
      readSync(this.memoryFile, seen, 0, seen.length, at);
      bytes.set(seen);
    }
  }

  private command(line: string): string {
    writeSync(this.input, `${line}\n`);
    const buffer = new Uint8Array(4096);
    for (;;) {
      const end = this.rest.indexOf('\n');
      if (end >= 0) {
        const answer = this.rest.slice(0, end);
        this.rest = this.rest.slice(end + 1);
        if (answer.startsWith('OK')) return answer;
        throw new Error(`QEMU answered ${line} with ${answer}`);
      }
      const count = readSync(this.output, buffer);
      if (count === 0) throw new Error('QEMU has ended');
      this.rest += new TextDecoder().decode(buffer.subarray(0, count));
    }
  }
}

const letter = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' } as const;

class QemuWindow implements RegisterWindow {
  readonly length = 16384;
  readonly closed = false;

  constructor(private readonly qemu: NvmeOnQemu) {}

  read8 = (offset: number): number => Number(this.read(1, offset));
  read16 = (offset: number): number => Number(this.read(2, offset));
  read32 = (offset: number): number => Number(this.read(4, offset));
  read64 = (offset: number): bigint => this.read(8, offset);
  write8 = (offset: number, value: number): void => this.write(1, offset, BigInt(value));
  write16 = (offset: number, value: number): void => this.write(2, offset, BigInt(value));
  write32 = (offset: number, value: number): void => this.write(4, offset, BigInt(value >>> 0));
  write64 = (offset: number, value: bigint): void => this.write(8, offset, value);
  window(): RegisterWindow {
    throw new Error('the cases use the whole window');
  }
  close(): void {}

  private read(width: 1 | 2 | 4 | 8, offset: number): bigint {
    return this.qemu.access(`read${letter[width]} 0x${(bar + BigInt(offset)).toString(16)}`);
  }

  private write(width: 1 | 2 | 4 | 8, offset: number, value: bigint): void {
    this.qemu.access(`write${letter[width]} 0x${(bar + BigInt(offset)).toString(16)} 0x${value.toString(16)}`);
  }
}
