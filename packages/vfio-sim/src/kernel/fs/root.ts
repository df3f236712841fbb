/** The root of the virtual file system, and the calls on paths. */

import { type FileStatus, OpenFlag } from 'vfio-core';
import { PAGE } from '../address-space.js';
import type { Bus } from '../bus.js';
import { ContainerFile } from '../container.js';
import { EACCES, EEXIST, EINVAL, EISDIR, ENOENT } from '../errno.js';
import type { OpenFile } from '../fds.js';
import { IommufdContext } from '../iommufd/context.js';
import type { Machine } from '../machine.js';
import { GIANT_PAGE, HUGE_PAGE } from '../memory.js';
import { cdevsOf, devicesFolder } from './device-nodes.js';
import {
  type CharacterNode,
  contents,
  type DirectoryNode,
  directory,
  type Node,
  parentOf,
  resolve,
  TextFile,
} from './nodes.js';
import { procTree } from './procfs.js';
import { RamDirectory } from './ram.js';
import { nodeNames, sysTree } from './sysfs.js';
import { VgaArbiterFile } from './vga-arbiter.js';

/** What else the tree depends on. */
export interface TreeOptions {
  /** The VFIO modules are loaded. */
  readonly loaded: boolean;
  /** The process may open group nodes. */
  readonly openGroups: boolean;
}

export class FileSystem {
  private readonly root: DirectoryNode;

  constructor(machine: Machine, bus: Bus, options: TreeOptions) {
    const { memory } = machine;
    this.root = directory({
      sys: sysTree(machine, bus, options.loaded),
      proc: procTree(machine),
      dev: directory({
        hugepages: new RamDirectory(memory, HUGE_PAGE),
        // Whoever sets such pages aside mounts them.
        ...(memory.giant.total > 0 && { 'hugepages-1G': new RamDirectory(memory, GIANT_PAGE) }),
        vga_arbiter: { kind: 'character device', mode: 0o660, open: () => new VgaArbiterFile(bus) },
        iommu: () => (options.loaded && machine.build.IOMMUFD ? iommuNode(machine) : undefined),
        vfio: () => (options.loaded ? vfioFolder(machine, bus, options.openGroups) : undefined),
      }),
      run: new RamDirectory(memory, PAGE, { 'vfio-sdk': new RamDirectory(memory, PAGE) }),
      tmp: new RamDirectory(memory, PAGE),
    });
  }

  open(path: string, flags: number): OpenFile | number {
    const node = this.find(path, flags);
    if (typeof node === 'number') return node;
    const access = flags & 3;
    if (node.kind === 'directory')
      return access === OpenFlag.readOnly
        ? new TextFile(path, { kind: 'file', mode: 0, read: () => -EISDIR })
        : -EISDIR;
    if (node.kind === 'link') return -EINVAL;
    if (node.kind === 'character device' || node.open !== undefined) {
      return (node as CharacterNode).open();
    }
    if (access !== OpenFlag.writeOnly && node.read === undefined) return -EACCES;
    if (access !== OpenFlag.readOnly && node.write === undefined) return -EACCES;
    return new TextFile(path, node);
  }

  readFile(path: string): string | number {
    const node = resolve(this.root, path, true);
    if (typeof node === 'number') return node;
    const bytes = contents(node);
    return typeof bytes === 'number' ? bytes : new TextDecoder().decode(bytes);
  }

  /** Creates a file where the file system can. */
  writeFile(path: string, text: string): number {
    const node = this.find(path, OpenFlag.create);
    if (typeof node === 'number') return node;
    if (node.kind === 'directory') return -EISDIR;
    if (node.kind !== 'file') return -EINVAL;
    return node.write?.(text) ?? -EACCES;
  }

  list(path: string): string[] | number {
    const node = resolve(this.root, path, true);
    if (typeof node === 'number') return node;
    return node.kind === 'directory' ? node.names() : -20;
  }

  readLink(path: string): string | number {
    const node = resolve(this.root, path, false);
    if (typeof node === 'number') return node;
    return node.kind === 'link' ? node.target : -EINVAL;
  }

  status(path: string): FileStatus | number {
    const node = resolve(this.root, path, false);
    if (typeof node === 'number') return node;
    const mode = node.kind === 'directory' ? 0o755 : node.kind === 'link' ? 0o777 : node.mode;
    return { type: node.kind, mode, uid: 0, gid: 0 };
  }

  unlink(path: string): number {
    const parent = parentOf(this.root, path);
    if (typeof parent === 'number') return parent;
    const { directory: folder, name } = parent;
    const node = folder.get(name);
    if (node === undefined) return -ENOENT;
    if (node.kind === 'directory') return -EISDIR;
    return folder.remove?.(name) ?? -EACCES;
  }

  private find(path: string, flags: number): Node | number {
    const node = resolve(this.root, path, true);
    const missing = node === -ENOENT;
    if (!missing && (flags & OpenFlag.exclusive) !== 0 && (flags & OpenFlag.create) !== 0) return -EEXIST;
    if (!missing || (flags & OpenFlag.create) === 0) return node;
    const parent = parentOf(this.root, path);
    if (typeof parent === 'number') return parent;
    // Kernel file systems answer ENOENT for what is not there.
    return parent.directory.create?.(parent.name) ?? -ENOENT;
  }
}

const iommuNode = (machine: Machine): CharacterNode => ({
  kind: 'character device',
  mode: 0o660,
  open: () => new IommufdContext('/dev/iommu', machine),
});

function vfioFolder(machine: Machine, bus: Bus, openGroups: boolean): DirectoryNode {
  const { build } = machine;
  const served = build.VFIO_CONTAINER || build.IOMMUFD_VFIO_CONTAINER;
  const devices = () => (cdevsOf(machine, bus).length > 0 ? ['devices'] : []);
  const names = () => [...(served ? ['vfio'] : []), ...devices(), ...nodeNames(bus)];
  const container = () =>
    build.IOMMUFD_VFIO_CONTAINER ? new IommufdContext('/dev/vfio/vfio', machine) : new ContainerFile(machine);
  return {
    kind: 'directory',
    names,
    get: (name) => {
      if (name === 'vfio' && served) return { kind: 'character device', mode: 0o666, open: container };
      if (name === 'devices' && devices().length > 0) return devicesFolder(machine, bus, openGroups);
      const group = [...bus.groups.values()].find((one) => one.node === name && one.exists);
      return group && { kind: 'character device', mode: 0o600, open: () => (openGroups ? group.open() : -EACCES) };
    },
  };
}
