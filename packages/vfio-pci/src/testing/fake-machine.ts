/** A machine's sysfs and procfs for tests: files and links in maps, and drivers that come and go as the kernel's do. */

import type { SystemCalls } from 'vfio-core';

const [ENOENT, EINVAL, ENODEV, EACCES, EBUSY] = [2, 22, 19, 13, 16];
const devices = '/sys/bus/pci/devices';

export interface FakeFunction {
  readonly vendor?: number;
  readonly device?: number;
  readonly class?: number;
  readonly driver?: string;
  readonly override?: string;
  readonly group?: number;
  readonly headerType?: number;
  readonly resource?: string;
  readonly config?: Uint8Array;
  /** The driver that the kernel chooses where nobody overrides. */
  readonly native?: string;
}

export class FakeMachine {
  readonly files = new Map<string, string | Uint8Array>();
  readonly links = new Map<string, string>();
  readonly drivers = new Set(['vfio-pci']);
  /** Every write, in order: `path = text`. */
  readonly writes: string[] = [];
  /** Answers a write in place of the kernel: a negative errno, or undefined to let it happen. */
  refuse: (path: string, text: string) => number | undefined = () => undefined;
  /** Probes that fail: driver to errno. */
  readonly failing = new Map<string, number>();
  private readonly native = new Map<string, string>();
  private readonly open = new Map<number, string>();
  private nextFd = 3;

  constructor(functions: Record<string, FakeFunction> = {}) {
    for (const [address, one] of Object.entries(functions)) this.add(address, one);
  }

  add(address: string, one: FakeFunction): void {
    const folder = `${devices}/${address}`;
    const hex = (value: number, digits: number) => `0x${value.toString(16).padStart(digits, '0')}\n`;
    this.files.set(`${folder}/vendor`, hex(one.vendor ?? 0x1b36, 4));
    this.files.set(`${folder}/device`, hex(one.device ?? 0x0010, 4));
    this.files.set(`${folder}/subsystem_vendor`, hex(0x1af4, 4));
    this.files.set(`${folder}/subsystem_device`, hex(0x1100, 4));
    this.files.set(`${folder}/class`, hex(one.class ?? 0x010802, 6));
    this.files.set(`${folder}/revision`, hex(2, 2));
    this.files.set(`${folder}/driver_override`, `${one.override ?? '(null)'}\n`);
    const config = one.config ?? new Uint8Array(256);
    config[0x0e] = one.headerType ?? config[0x0e] ?? 0;
    this.files.set(`${folder}/config`, config);
    if (one.resource !== undefined) this.files.set(`${folder}/resource`, one.resource);
    if (one.native !== undefined || one.driver !== undefined) {
      this.native.set(address, (one.native ?? one.driver) as string);
    }
    if (one.driver !== undefined) {
      this.drivers.add(one.driver);
      this.links.set(`${folder}/driver`, `../../../bus/pci/drivers/${one.driver}`);
    }
    if (one.native !== undefined) this.drivers.add(one.native);
    if (one.group !== undefined) {
      this.links.set(`${folder}/iommu_group`, `../../../kernel/iommu_groups/${one.group}`);
      this.links.set(`/sys/kernel/iommu_groups/${one.group}/devices/${address}`, `../../../../devices/${address}`);
    }
  }

  driver(address: string): string | undefined {
    return this.links.get(`${devices}/${address}/driver`)?.split('/').pop();
  }

  override(address: string): string {
    return String(this.files.get(`${devices}/${address}/driver_override`)).trim();
  }

  /** What the descriptors left open lead to. */
  get leaks(): string[] {
    return [...this.open.values()];
  }

  get system(): SystemCalls {
    const calls: Partial<SystemCalls> = {
      name: 'fake',
      pageSize: 4096,
      readFile: (path) => {
        const found = this.files.get(this.real(path));
        return typeof found === 'string' ? found : -ENOENT;
      },
      writeFile: (path, text) => this.write(this.real(path), text),
      readLink: (path) => this.links.get(path) ?? -ENOENT,
      list: (path) => this.list(this.real(path)),
      status: (path) =>
        typeof this.list(path) === 'number' && !this.files.has(this.real(path)) && !this.links.has(path)
          ? -ENOENT
          : { type: 'file', mode: 0o644, uid: 0, gid: 0 },
      unlink: (path) => (this.files.delete(path) ? 0 : -ENOENT),
      open: (path) => {
        if (!this.files.has(path)) return -ENOENT;
        this.open.set(this.nextFd, path);
        return this.nextFd++;
      },
      close: (fd) => (this.open.delete(fd) ? 0 : -9),
      pread: (fd, into, offset) => {
        const bytes = this.files.get(this.open.get(fd) ?? '');
        if (!(bytes instanceof Uint8Array)) return -EINVAL;
        const part = bytes.subarray(offset, offset + into.length);
        into.set(part);
        return part.length;
      },
    };
    return calls as SystemCalls;
  }

  /** Follows the links that are used in the middle of a path. */
  private real(path: string): string {
    return path.replace(/^\/sys\/bus\/pci\/devices\/([^/]+)\/iommu_group\//, (whole, address: string) => {
      const target = this.links.get(`${devices}/${address}/iommu_group`);
      return target === undefined ? whole : `/sys/kernel/iommu_groups/${target.split('/').pop()}/`;
    });
  }

  private list(path: string): string[] | number {
    const names = new Set<string>();
    if (path === '/sys/bus/pci/drivers') return [...this.drivers];
    if (path.startsWith('/sys/bus/pci/drivers/')) return this.drivers.has(path.slice(21)) ? [] : -ENOENT;
    for (const known of [...this.files.keys(), ...this.links.keys()]) {
      if (known.startsWith(`${path}/`)) names.add(known.slice(path.length + 1).split('/')[0] as string);
    }
    return names.size === 0 ? -ENOENT : [...names];
  }

  private write(path: string, text: string): number {
    this.writes.push(`${path} = ${JSON.stringify(text)}`);
    const refused = this.refuse(path, text);
    if (refused !== undefined) return refused;
    const driver = /^\/sys\/bus\/pci\/drivers\/([^/]+)\/(bind|unbind)$/.exec(path);
    if (driver !== null)
      return driver[2] === 'bind' ? this.attach(text, driver[1] as string) : this.detach(text, driver[1] as string);
    if (path === '/sys/bus/pci/drivers_probe') return this.probe(text);
    if (path.endsWith('/driver_override')) {
      if (!this.files.has(path)) return -ENOENT;
      this.files.set(path, `${text.trim() === '' ? '(null)' : text.trim()}\n`);
      return 0;
    }
    if (!path.startsWith('/run/')) return -EACCES;
    this.files.set(path, text);
    return 0;
  }

  /** As the kernel's: a driver that refuses is not told of. */
  private probe(address: string): number {
    const override = this.override(address);
    const driver = override === '(null)' ? this.native.get(address) : override;
    if (driver !== undefined && this.driver(address) === undefined) this.attach(address, driver);
    return 0;
  }

  private attach(address: string, driver: string): number {
    if (!this.drivers.has(driver)) return -ENODEV;
    if (this.driver(address) !== undefined) return -EBUSY;
    const errno = this.failing.get(driver);
    if (errno !== undefined) return -errno;
    this.links.set(`${devices}/${address}/driver`, `../../../bus/pci/drivers/${driver}`);
    return 0;
  }

  private detach(address: string, driver: string): number {
    if (this.driver(address) !== driver) return -ENODEV;
    this.links.delete(`${devices}/${address}/driver`);
    return 0;
  }
}
