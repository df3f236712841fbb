/** A machine of a few files and huge pages: for what a whole simulated kernel would not get wrong. */

import type { MemoryMapping, MemoryRequest, SystemCalls } from 'vfio-core';

export const HUGE = 2 << 20;
const [ENOENT, EEXIST, ENOMEM, EBADF] = [-2, -17, -12, -9];

interface HugeFile {
  readonly path: string;
  readonly pages: Map<number, { bytes: Uint8Array; frame: bigint }>;
}

export class FakeMachine {
  readonly name = 'fake';
  readonly pageSize = 4096;
  readonly files = new Map<string, string | number>([
    ['/proc/self/mounts', 'hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n'],
    ['/proc/self/stat', '4242 (no) de) S 1 4242 4242 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 11 0 777 1 2 3'],
  ]);
  readonly links = new Map<string, string>();
  /** Files on /dev/hugepages. */
  readonly named = new Map<string, HugeFile>();
  /** Free huge pages, by physical address, in the order in which they are handed out. */
  free: bigint[] = Array.from({ length: 16 }, (_, index) => BigInt((2 * index + 32) * HUGE));
  readonly open_ = new Map<number, HugeFile | 'pagemap'>();
  readonly mappings = new Set<MemoryMapping>();
  readonly exits = new Map<number, { phase: number; step: { call: string } }>();
  /** What frame numbers this process is shown. */
  show = (frame: bigint): bigint => frame;
  private next = 10;
  private readonly at = new Map<bigint, { file: HugeFile; index: number; offset: number }>();

  /** As for a process without CAP_SYS_ADMIN. */
  maskFrames(): void {
    this.show = () => 0n;
  }

  get calls(): SystemCalls {
    return this as unknown as SystemCalls;
  }

  readFile(path: string): string | number {
    return this.files.get(path) ?? ENOENT;
  }

  readLink(path: string): string | number {
    return this.links.get(path) ?? ENOENT;
  }

  status(path: string): object | number {
    const there = [...this.files.keys(), ...this.links.keys()].some(
      (name) => name === path || name.startsWith(`${path}/`),
    );
    return there ? { type: 'directory', mode: 0o755, uid: 0, gid: 0 } : ENOENT;
  }

  list(path: string): string[] | number {
    if (path === '/dev/hugepages') return [...this.named.keys()].map((name) => name.slice(path.length + 1));
    return [...this.files.keys()]
      .filter((name) => name.startsWith(`${path}/`))
      .map((name) => name.slice(path.length + 1));
  }

  unlink(path: string): number {
    const file = this.named.get(path);
    if (file === undefined) return ENOENT;
    this.named.delete(path);
    this.drop(file);
    return 0;
  }

  open(path: string): number {
    if (path === '/proc/self/pagemap') {
      const refused = this.files.get(path);
      if (typeof refused === 'number') return refused;
      this.open_.set(this.next, 'pagemap');
      return this.next++;
    }
    if (this.named.has(path)) return EEXIST;
    const file: HugeFile = { path, pages: new Map() };
    this.named.set(path, file);
    this.open_.set(this.next, file);
    return this.next++;
  }

  close(fd: number): number {
    const file = this.open_.get(fd);
    if (file === undefined) return EBADF;
    this.open_.delete(fd);
    if (file !== 'pagemap') this.drop(file);
    return 0;
  }

  truncate(): number {
    return 0;
  }

  punchHole(fd: number, offset: number): number {
    const file = this.open_.get(fd) as HugeFile;
    const page = file.pages.get(offset / HUGE);
    if (page !== undefined) this.free.push(page.frame);
    file.pages.delete(offset / HUGE);
    return 0;
  }

  memory(request: MemoryRequest): MemoryMapping | number {
    if (request.kind !== 'file') return ENOMEM;
    const file = this.open_.get(request.fd) as HugeFile;
    const first = request.offset / HUGE;
    const count = request.length / HUGE;
    for (let index = first; index < first + count; index++) {
      if (file.pages.has(index)) continue;
      const frame = this.free.shift();
      if (frame === undefined) return ENOMEM;
      file.pages.set(index, { bytes: new Uint8Array(HUGE).fill(0xee), frame });
    }
    // Memory of several pages is a copy here: what matters to these tests is which pages it is made of.
    const bytes = count === 1 ? file.pages.get(first)!.bytes.subarray() : new Uint8Array(request.length).fill(0xee);
    const address = BigInt(this.next++) << 40n;
    for (let at = 0; at < count; at++) this.at.set(address + BigInt(at * HUGE), { file, index: first + at, offset: 0 });
    const mapping = { bytes, address, length: request.length, unmap: () => void this.mappings.delete(mapping) };
    this.mappings.add(mapping);
    return mapping;
  }

  pread(_fd: number, into: Uint8Array, offset: number): number {
    const address = (BigInt(offset) / 8n) * 4096n;
    const page = this.at.get(address);
    const frame = page?.file.pages.get(page.index)?.frame;
    const entry = frame === undefined ? 0n : (1n << 63n) | (1n << 61n) | this.show(frame / 4096n);
    new DataView(into.buffer).setBigUint64(0, entry, true);
    return into.length;
  }

  onExit(phase: number, step: { call: string }): number {
    this.exits.set(this.next, { phase, step });
    return this.next++;
  }

  cancelExit(handle: number): void {
    this.exits.delete(handle);
  }

  private drop(file: HugeFile): void {
    if (this.named.get(file.path) === file || [...this.open_.values()].includes(file)) return;
    for (const { frame } of file.pages.values()) this.free.push(frame);
    file.pages.clear();
  }
}
