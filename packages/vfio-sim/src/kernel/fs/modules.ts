/** Kernel modules and their parameters in /sys. */

import { EINVAL, ENOENT } from '../errno.js';
import type { Machine } from '../machine.js';
import { type DirectoryNode, directory, type FileNode, type Node, setting, text } from './nodes.js';

/** Parameters that came later. */
const since: Readonly<Record<string, `${number}.${number}`>> = { enable_sriov: '5.7', disable_denylist: '5.9' };
/** Parameters that can be given at load only ([LIFE-16]). */
const atLoadOnly = ['disable_vga', 'disable_denylist'];

/** /sys/module, as far as VFIO goes. */
export function modules(machine: Machine): Record<string, Node> {
  const { parameters, kernel, type1Loaded, build } = machine;
  // Parameters of what was not built ([NOI-1], [LIFE-16]).
  const missing = new Set([
    ...(build.VFIO_NOIOMMU ? [] : ['enable_unsafe_noiommu_mode']),
    ...(build.VFIO_PCI_VGA ? [] : ['disable_vga']),
  ]);
  const files = <T extends object>(module: T): DirectoryNode =>
    directory(
      Object.fromEntries(
        Object.entries(module)
          .filter(
            ([name, value]) =>
              typeof value !== 'string' &&
              !missing.has(name) &&
              (since[name] === undefined || kernel.since(since[name])),
          )
          .map(([name]) => [name, parameter(module as Record<string, boolean | number>, name)]),
      ),
    );
  return {
    vfio: directory({ parameters: files(parameters.vfio) }),
    ...(type1Loaded && { vfio_iommu_type1: directory({ parameters: files(parameters.vfio_iommu_type1) }) }),
    ...(build.IOMMUFD && { iommufd: directory({ parameters: files(parameters.iommufd) }) }),
    vfio_pci: directory({ parameters: files(parameters.vfio_pci) }),
    ...(kernel.since('5.15') && { vfio_pci_core: directory({}) }),
  };
}

/** A module parameter: `Y` and `N`, or a number. */
function parameter(module: Record<string, boolean | number>, name: string): FileNode {
  const show = () => {
    const value = module[name];
    return typeof value === 'boolean' ? (value ? 'Y\n' : 'N\n') : `${value}\n`;
  };
  if (atLoadOnly.includes(name)) return text(show);
  return setting(show, (written) => {
    const value = written.trim();
    if (module[name] === undefined) return -ENOENT;
    if (typeof module[name] === 'number') module[name] = Number(value);
    else if (/^[yY1]/.test(value)) module[name] = true;
    else if (/^[nN0]/.test(value)) module[name] = false;
    else return -EINVAL;
    return 0;
  });
}
