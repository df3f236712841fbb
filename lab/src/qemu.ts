import type { Run } from './suite.js';

/** The files and sockets of one boot. */
export interface BootFiles {
  readonly image: string;
  readonly initrd: string;
  /** The run's own folder on the host, which the guest may write to. */
  readonly folder: string;
  /** Unix sockets: the monitor and the line of results. */
  readonly monitor: string;
  readonly results: string;
  /** Host folders that appear in the guest at the same path. */
  readonly shares: readonly string[];
  /** Disk images by name. */
  readonly images: Readonly<Record<string, string>>;
}

const readonlyShare = (path: string, tag: string) =>
  `local,path=${path},mount_tag=${tag},security_model=none,readonly=on,multidevs=remap`;

/** The arguments of QEMU for one boot. */
export function qemuArguments(run: Run, files: BootFiles): string[] {
  const kernel = [
    'console=ttyS0',
    'printk.time=1',
    'log_buf_len=4M',
    'panic=-1',
    'mitigations=off',
    // The check counts timer ticks while it spins; on a busy host the emulated processor gets none, and it panics.
    'no_timer_check',
    // The kernel's own patience with a processor that the host leaves waiting: seconds until it calls that a lockup or a stall (a real
    // one lasts longer), and no second clock that calls the first one wrong.
    ...['watchdog_thresh=30', 'rcupdate.rcu_cpu_stall_timeout=120', 'tsc=nowatchdog'],
    'sysrq_always_enabled=1',
    ...(run.mode === 'iommu' ? ['intel_iommu=on', 'iommu=nopt'] : ['intel_iommu=off']),
    ...(run.hugePages ? [`hugepages=${run.hugePages}`, 'lab_huge=1'] : []),
    `lab_run=${files.folder}`,
    `lab_shares=${files.shares.join(':')}`,
    ...(run.kernelArguments ?? []),
  ];
  const args = [
    ['-machine', 'q35,kernel-irqchip=split'],
    ['-accel', 'tcg,thread=multi'],
    ['-cpu', 'max'],
    ['-smp', '2'],
    ['-m', `${run.memoryMiB ?? 1024}M`],
    ['-nodefaults', '-nographic', '-no-reboot'],
    ['-serial', 'stdio'],
    ['-chardev', `socket,id=results,path=${files.results},server=on,wait=on`, '-serial', 'chardev:results'],
    ['-monitor', `unix:${files.monitor},server=on,wait=off`],
    ['-kernel', files.image, '-initrd', files.initrd, '-append', kernel.join(' ')],
    // Hotplug by the PCIe ports themselves, as on most machines; with ACPI's a hot reset behind a port fails.
    ['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'],
    ['-virtfs', readonlyShare('/', 'host')],
    ...files.shares.map((path, i) => ['-virtfs', readonlyShare(path, `share${i}`)]),
    ['-virtfs', `local,path=${files.folder},mount_tag=run,security_model=none,multidevs=remap`],
  ];
  if (run.mode === 'iommu') args.push(['-device', 'intel-iommu,intremap=on,caching-mode=on']);
  for (const { name, options } of run.disks ?? []) {
    const path = files.images[name];
    args.push(['-drive', `file=${path},if=none,id=${name},format=raw,cache=unsafe${options ? `,${options}` : ''}`]);
  }
  // The ports take the first free slots of the root bus, so they get the bus numbers from 1 up.
  (run.slots ?? []).forEach((devices, i) => {
    const port = `port${i + 1}`;
    const place = `bus=pcie.0,addr=${(16 + i).toString(16)}.0,chassis=${i + 1},slot=${i + 1}`;
    args.push(['-device', `pcie-root-port,id=${port},${place}`]);
    for (const device of devices) args.push(['-device', `${device},bus=${port}`]);
  });
  args.push([...(run.qemu ?? [])]);
  return args.flat();
}
