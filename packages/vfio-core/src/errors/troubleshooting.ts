/**
 * What lies behind each error code: why it comes, what to look at, what cures it. docs/troubleshooting.md is made from this and
 * from the table of codes; nothing imports it at run time, so it costs a program nothing.
 */

import type { ErrorCode } from './codes.js';

export interface Trouble {
  /** What the user saw: the first line of a typical message, without the code. */
  readonly saw: string;
  /** Why it comes: one sentence for each cause. */
  readonly why: readonly string[];
  /** What to look at: a command, and what it tells. */
  readonly check?: readonly (readonly [command: string, tells: string])[];
  /** What cures it: commands, or a sentence where there is none. */
  readonly cure: readonly string[];
}

const doctor = ['npx vfio doctor', 'most of what can be wrong with the machine, each finding with its cure'] as const;
const log = ['dmesg | tail -n 30', 'what the kernel says about it'] as const;

export const troubleshooting: Readonly<Record<ErrorCode, Trouble>> = {
  ERR_VFIO_NO_BACKEND: {
    saw: 'VFIO is part of Linux, and this is darwin-arm64.',
    why: [
      'The program runs where there is no VFIO: not on Linux, or in a browser.',
      'The native part of vfio-core is missing or does not fit this machine: installed for another system, or with scripts and optional parts left out.',
    ],
    check: [['uname -sm', 'the machine; the Linux backend is for Linux on x86_64']],
    cure: [
      'On another system pass the simulation: `openDevice(address, { backend: simulation({ ... }) })`.',
      'npm rebuild vfio-core',
    ],
  },
  ERR_VFIO_NOT_LOADED: {
    saw: 'vfio-pci is not loaded, and 0000:01:00.0 is bound to nvme.',
    why: [
      'The kernel has VFIO as modules, and nobody has loaded them.',
      'In a container (Docker, Podman) the nodes of /dev/vfio were not passed in.',
      'The kernel was built without the way that was asked for: /dev/iommu, or /dev/vfio/vfio.',
    ],
    check: [
      ['ls -l /dev/vfio /dev/iommu', 'which nodes there are'],
      ['lsmod | grep vfio', 'which modules are loaded'],
      ['grep VFIO /boot/config-$(uname -r)', 'what the kernel was built with'],
    ],
    cure: ['modprobe vfio-pci', 'docker run --device /dev/vfio --device /dev/iommu ...'],
  },
  ERR_VFIO_PERMISSION: {
    saw: '/dev/vfio/7 may not be opened by this user: it belongs to user 0 and group 0, mode 0600.',
    why: [
      'Group and device files belong to root until they are given away, and are made anew whenever a device is bound.',
      'No-IOMMU mode needs the capability CAP_SYS_RAWIO besides the right to the file.',
      'Binding a device writes to files of sysfs that are root’s.',
    ],
    check: [
      ['ls -l /dev/vfio /dev/vfio/devices', 'whose the files are'],
      ['grep CapEff /proc/self/status', 'the capabilities of the process'],
    ],
    cure: [
      'sudo chown $USER /dev/vfio/GROUP',
      'sudo chown $USER /dev/iommu /dev/vfio/devices/vfioX',
      'For good, a rule for udev: `SUBSYSTEM=="vfio", OWNER="me"`.',
    ],
  },
  ERR_VFIO_NO_IOMMU: {
    saw: '0000:01:00.0 is in no IOMMU group: the IOMMU is off, or there is none.',
    why: [
      'The firmware has VT-d or AMD-Vi switched off.',
      'The kernel was not told to use it.',
      'The machine is virtual, and its host gives it no IOMMU.',
      'The device is bound in no-IOMMU mode, and the program asked for an isolated one.',
    ],
    check: [
      ['ls /sys/kernel/iommu_groups', 'one folder for each group; nothing where there is no IOMMU'],
      ['dmesg | grep -i -e DMAR -e AMD-Vi', 'whether the kernel found an IOMMU'],
      ['cat /proc/cmdline', 'whether it was told to use it'],
    ],
    cure: [
      'Switch VT-d (Intel) or AMD-Vi on in the firmware.',
      'Add `intel_iommu=on` (Intel) to the kernel’s command line; `amd_iommu=on` is the default.',
      'QEMU: `-machine q35,kernel-irqchip=split -device intel-iommu,intremap=on,caching-mode=on`',
      'Knowing what that means: `openUnsafe()` of vfio-noiommu.',
    ],
  },
  ERR_VFIO_NOIOMMU_OFF: {
    saw: 'No-IOMMU mode is switched off in the kernel.',
    why: ['The mode is off by default, and a device that was bound before it was switched on is not in it.'],
    check: [
      [
        'cat /sys/module/vfio/parameters/enable_unsafe_noiommu_mode',
        'Y where it is on; no file where the kernel lacks it',
      ],
    ],
    cure: ['echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode', 'vfio bind ADDRESS --yes'],
  },
  ERR_VFIO_UNSAFE_INTERRUPTS: {
    saw: 'the IOMMU does not isolate interrupts.',
    why: [
      'The machine has no interrupt remapping, or it is off: a device could forge the interrupts of others.',
      'The machine is virtual, and its IOMMU was given without it.',
    ],
    check: [['dmesg | grep -i remapping', 'whether interrupts are remapped']],
    cure: [
      'Switch interrupt remapping (or x2APIC) on in the firmware.',
      'QEMU: `-device intel-iommu,intremap=on` with `-machine kernel-irqchip=split`.',
      'Accepting the risk, for a container: `echo Y > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts`; for iommufd: `echo Y > /sys/module/iommufd/parameters/allow_unsafe_interrupts`.',
    ],
  },
  ERR_VFIO_NO_DEVICE: {
    saw: 'there is no device 0000:1f:00.0.',
    why: [
      'The address is another one: numbers of buses change when cards are added.',
      'The device was unplugged, or its bus was not scanned.',
      'The group’s file went between looking and opening, because its last device was unbound.',
    ],
    check: [
      ['vfio list', 'every function with its address'],
      ['lspci -D', 'the same from the system'],
    ],
    cure: ['echo 1 > /sys/bus/pci/rescan'],
  },
  ERR_VFIO_NOT_BOUND: {
    saw: '0000:01:00.0 is bound to nvme, not to vfio-pci.',
    why: [
      'A driver of the host has the device, or none has.',
      'It was given back meanwhile: unbound, or taken by a driver that was loaded.',
    ],
    check: [['readlink /sys/bus/pci/devices/ADDRESS/driver', 'the driver that has it']],
    cure: [
      'vfio bind ADDRESS --yes',
      'For good, from the start: `options vfio-pci ids=VENDOR:DEVICE` in /etc/modprobe.d.',
    ],
  },
  ERR_VFIO_GROUP_NOT_VIABLE: {
    saw: 'IOMMU group 7 cannot be used: 0000:01:00.1 (Audio device) is bound to snd_hda_intel.',
    why: [
      'Devices of one group reach each other past the IOMMU, so the kernel hands a group to a program whole or not at all.',
      'A group is as large as the hardware makes it: a bridge, or a device of several functions, without ACS keeps all below it together.',
    ],
    check: [
      [
        'ls /sys/bus/pci/devices/ADDRESS/iommu_group/devices',
        'the members; `error.details.members` says what to do with each',
      ],
      ['lspci -vvv -s BRIDGE | grep -i "access control"', 'whether the bridge above has ACS'],
    ],
    cure: [
      'vfio bind OTHER... --yes',
      'Leave bridges, pci-stub and functions without a driver as they are: they are harmless.',
      'One that must stay with the host needs another slot, below a port that has ACS.',
    ],
  },
  ERR_VFIO_BUSY: {
    saw: 'opening /dev/vfio/7 failed: it is in use.',
    why: [
      'Another process, or another opening of this one, has the group or the device: a kernel opens each once at a time.',
      'The device is being reset, or its lock is held for the moment.',
      'A device of the group is open by the other way: group and device file exclude each other.',
    ],
    check: [['fuser -v /dev/vfio/* /dev/vfio/devices/*', 'who has them open']],
    cure: [
      'End the other program.',
      'Let one program open them and pass the descriptors on: `openDevice(address, { descriptors })`.',
      'For several devices of a group: one space, `openDevice(address, { space })`.',
    ],
  },
  ERR_VFIO_BIND: {
    saw: '0000:00:01.0 (PCI bridge) is a bridge, which VFIO does not take.',
    why: [
      'Bridges, devices on the kernel’s deny list (some QAT, DSA and IAX) and functions with virtual ones are not taken.',
      'The host’s own driver did not take the device back.',
    ],
    check: [log],
    cure: [
      'Bind the endpoints behind a bridge instead; bridges may stay.',
      'For a device on the deny list, knowing its faults: `modprobe vfio-pci disable_denylist=1`.',
      'Virtual functions away first: `echo 0 > /sys/bus/pci/devices/ADDRESS/sriov_numvfs`.',
    ],
  },
  ERR_VFIO_DEVICE_IN_USE: {
    saw: '0000:02:00.0 (Non-Volatile memory controller) is in use: nvme0n1 is mounted at /.',
    why: [
      'A file system, swap, RAID, LVM or encryption of the host stands on this disk; taking it away would lose data.',
    ],
    check: [
      ['lsblk', 'what stands on the disk'],
      ['swapon --show', 'swap'],
    ],
    cure: [
      'umount /PATH',
      'swapoff /dev/DISK',
      'Stop what stands on it: `mdadm --stop`, `vgchange -an`, `cryptsetup close`.',
    ],
  },
  ERR_VFIO_API: {
    saw: 'the kernel offers no type1 IOMMU (version 2).',
    why: [
      'The module of the IOMMU model is not loaded, or the machine has another model.',
      'The kernel is older than 4.5, or was built without what is asked for.',
    ],
    check: [
      ['uname -r', 'the version'],
      ['lsmod | grep vfio_iommu_type1', 'whether type1 is loaded'],
    ],
    cure: ['modprobe vfio_iommu_type1'],
  },
  ERR_VFIO_MEMLOCK: {
    saw: '4194304 bytes more cannot be locked: 65536 bytes are locked and the limit (RLIMIT_MEMLOCK) is 65536 bytes.',
    why: [
      'Memory that devices reach is locked, and a process may lock only so much: often 8 MiB, on older systems 64 KiB.',
      'A container counts each mapping, so memory mapped twice counts twice; iommufd counts what all processes of the user have locked.',
    ],
    check: [
      ['ulimit -l', 'the limit, in KiB'],
      ['grep -E "VmLck|VmPin" /proc/PID/status', 'what a process has locked'],
    ],
    cure: [
      'ulimit -l unlimited',
      'LimitMEMLOCK=infinity in the unit of systemd; `--ulimit memlock=-1` for Docker.',
      'For users, in /etc/security/limits.conf: `me - memlock unlimited`.',
      '`dma.headroom()` tells what is left before it is needed.',
    ],
  },
  ERR_VFIO_NO_MEMORY: {
    saw: 'there was not enough memory, or not enough locked memory allowed.',
    why: ['The machine, or the control group of the process, has no memory left for what was asked.'],
    check: [
      ['free -m', 'the memory of the machine'],
      ['cat /sys/fs/cgroup/memory.max', 'the limit of the control group'],
    ],
    cure: ['Close buffers that are not used, or ask for less.'],
  },
  ERR_VFIO_NO_HUGEPAGES: {
    saw: '2 huge pages needed (2048 KiB each), none free.',
    why: [
      'Huge pages are set aside by the machine’s owner, and none is free.',
      'Memory is in too many pieces for new ones: pages of 1 GiB are best set aside at boot.',
      'Without an IOMMU memory comes from hugetlbfs, and none is mounted.',
    ],
    check: [
      ['grep Huge /proc/meminfo', 'how many there are and how many are free'],
      ['grep hugetlbfs /proc/mounts', 'where it is mounted'],
    ],
    cure: [
      'echo 64 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages',
      'echo 2 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages',
      'mkdir -p /dev/hugepages && mount -t hugetlbfs none /dev/hugepages',
      'At boot: `hugepagesz=1G hugepages=2` on the kernel’s command line.',
    ],
  },
  ERR_VFIO_NO_IOVA: {
    saw: 'no free device addresses for 8192 bytes.',
    why: [
      'The wishes leave no room: `below` for a device of few address bits, `at`, a large alignment.',
      'The space is full, or cut into pieces by long-lived buffers.',
    ],
    check: [['`error.details`', 'the largest free piece and the ranges that devices can use']],
    cure: [
      'Close buffers, or relax `below` and `alignment`.',
      'Pass `shortLived: true` for buffers of a moment: they get a place apart.',
    ],
  },
  ERR_VFIO_MAPPING: {
    saw: 'the memory cannot be pinned for a device: part of it is not there, or not of a kind that can.',
    why: [
      'The address is outside what the IOMMU translates, or in a range that a device keeps for itself (EINVAL).',
      'Something is mapped there already (EEXIST).',
      'The memory is not there, may only be read, or belongs to a file system that cannot be pinned (EFAULT).',
      'It is another device’s registers: iommufd takes none, a container does.',
      'The limit on the number of mappings is reached (ENOSPC).',
    ],
    check: [
      ['cat /sys/kernel/iommu_groups/GROUP/reserved_regions', 'ranges that are kept'],
      ['cat /sys/module/vfio_iommu_type1/parameters/dma_entry_limit', 'how many mappings a container may have'],
    ],
    cure: [
      'Let the space choose the address: leave `at` out.',
      'Use fewer and larger buffers, or `echo 200000 > /sys/module/vfio_iommu_type1/parameters/dma_entry_limit` before the container is opened.',
      'For peer-to-peer: `openDevice(address, { way: "container" })`.',
    ],
  },
  ERR_VFIO_MASKED_FRAMES: {
    saw: 'The physical addresses of this process cannot be had: the kernel shows them to CAP_SYS_ADMIN only.',
    why: ['Without an IOMMU devices are given physical addresses, which the kernel hides from ordinary processes.'],
    check: [['grep CapEff /proc/self/status', 'the capabilities of the process (bit 21)']],
    cure: ['sudo node program.js', 'Better: an IOMMU, where none of this is needed.'],
  },
  ERR_VFIO_NOT_ACKNOWLEDGED: {
    saw: 'Unsafe mode was asked for without the acknowledgement.',
    why: ['Without an IOMMU a device reaches all memory of the machine, so the program has to say that it knows.'],
    cure: [
      'Read the safety section of vfio-noiommu, and pass its sentence: `openUnsafe(address, { acknowledge: "..." })`.',
    ],
  },
  ERR_VFIO_NOT_SUPPORTED: {
    saw: 'ioctl VFIO_DEVICE_RESET failed: the kernel does not know this call.',
    why: [
      'The kernel is older than the call (ENOTTY), or the device lacks what it is about.',
      'The mode has no such thing: no-IOMMU mode maps no memory of the program.',
    ],
    check: [
      ['uname -r', 'the version'],
      ['vfio info ADDRESS', 'what the device has'],
    ],
    cure: ['Ask first: `device.channel.info()`, `region(index)`, `irq(index)`.', 'Use a newer kernel.'],
  },
  ERR_VFIO_ARGUMENT: {
    saw: '"01:00" is no PCI address.',
    why: ['A number is out of range, an address is none, or two things do not belong together.'],
    cure: ['The message says which, and the range.', 'Addresses are written `0000:01:00.0`.'],
  },
  ERR_VFIO_WINDOW_RANGE: {
    saw: 'a 32-bit access at offset 0x1002 is not aligned to its width.',
    why: ['Registers are accessed in their own width, at a multiple of it, within their window.'],
    cure: ['Check offset and width against `window.length` and the device’s manual.'],
  },
  ERR_VFIO_REGISTER_ACCESS: {
    saw: 'IRQ_ACK is WO and cannot be read.',
    why: ['The register table says that this register, or this field, is not for that.'],
    cure: ['Correct the table if the manual says otherwise: `reg32(0x64, "RW")`.'],
  },
  ERR_VFIO_SHORT_ACCESS: {
    saw: 'pread of 64 bytes at 0xfe0 took 32.',
    why: ['The access runs over the end of its region.', 'The device went to sleep or left in the middle of it.'],
    check: [['vfio info ADDRESS', 'sizes of the regions']],
    cure: ['Keep within `region(index).size`.'],
  },
  ERR_VFIO_MALFORMED: {
    saw: 'a capability chain does not hold together: it runs in a circle.',
    why: [
      'The device’s configuration space is damaged, or reads all-ones because it is asleep.',
      'A reply of the kernel claims more than was asked for, or points out of itself.',
    ],
    check: [['lspci -xxxx -s ADDRESS', 'configuration space as the hardware has it (as root)'], log],
    cure: [
      'echo 1 > /sys/bus/pci/devices/ADDRESS/reset',
      'Firmware of the device, or the kernel, may be faulty: update it.',
    ],
  },
  ERR_VFIO_CLOSED: {
    saw: 'the buffer was closed by its owner.',
    why: [
      'The device, the space or the buffer was closed, by hand or at the end of a `using` block, and is used after that.',
    ],
    cure: ['Keep it open as long as it is used; end Workers before the device that they work on is closed.'],
  },
  ERR_VFIO_TIMEOUT: {
    saw: 'edu did not raise an interrupt within 1000 ms.',
    why: [
      'Bus mastering is off: message-signalled interrupts and DMA need it, and nobody else turns it on.',
      'The device was not told to interrupt, or its interrupt was not acknowledged.',
    ],
    check: [
      ['lspci -vv -s ADDRESS | grep -e BusMaster -e MSI', 'whether bus mastering and messages are on'],
      ['grep vfio /proc/interrupts', 'whether interrupts arrive at all'],
      ['dmesg | grep -i -e DMAR -e AMD-Vi', 'DMA that the IOMMU refused'],
    ],
    cure: ['`device.busMaster.enable()`'],
  },
  ERR_VFIO_DEVICE_GONE: {
    saw: '0000:01:00.0 answers all-ones.',
    why: [
      'It was unplugged, or its link went down.',
      'It was unbound while it was open: the kernel asked for it and it was given back.',
    ],
    check: [['ls /sys/bus/pci/devices/ADDRESS', 'whether the machine still has it'], log],
    cure: ['Close it, which works as ever; open it again once it is back.', 'echo 1 > /sys/bus/pci/rescan'],
  },
  ERR_VFIO_DEVICE_ASLEEP: {
    saw: 'a register of 0000:01:00.0 was touched while memory decoding was off.',
    why: [
      'The program, or a reset, switched memory decoding off or sent the device to D3, and registers were touched then.',
    ],
    check: [['lspci -vv -s ADDRESS | grep -e Mem -e "Status: D"', 'decoding and power state']],
    cure: [
      'Switch memory decoding on, or wake the device to D0; then `device.checkAlive()`, which maps the registers afresh.',
    ],
  },
  ERR_VFIO_IRQ: {
    saw: '64 vectors of MSI-X are asked for, and the device has 8.',
    why: [
      'The device has fewer vectors, or not this kind of interrupt.',
      'The machine has no vectors left for it.',
      'INTx is shared and the device cannot be masked.',
    ],
    check: [
      ['vfio info ADDRESS', 'kinds of interrupts and their counts'],
      ['cat /proc/interrupts', 'what is in use'],
    ],
    cure: ['Ask for fewer vectors, or for another kind: `interrupts(device).enable("msi", 1)`.'],
  },
  ERR_VFIO_SYSTEM: {
    saw: 'opening device 0000:01:00.0 failed: this process has too many files open.',
    why: [
      'A system call failed in a way that means nothing special here; `errnoName`, `syscall`, `request` and `path` are the kernel’s own words.',
    ],
    check: [['ulimit -n', 'how many files the process may have (EMFILE)'], log, doctor],
    cure: ['ulimit -n 65536'],
  },
  ERR_NVME_NOT_READY: {
    saw: 'The controller did not become ready within 20000 ms.',
    why: [
      'The controller needs longer than it promises (CAP.TO), or is faulty.',
      'It cannot reach its queues: bus mastering is off.',
    ],
    check: [['dmesg | grep -i -e nvme -e DMAR', 'refused DMA, or what the host’s driver met before']],
    cure: [
      '`await device.reset()`, then open it again.',
      'Switch the machine off and on: a warm start does not reset every controller.',
    ],
  },
  ERR_NVME_FATAL: {
    saw: 'The controller reports a fatal state (CSTS.CFS).',
    why: ['The controller met an error that it cannot recover from; it does nothing before it is reset.'],
    check: [['dmesg | grep -i DMAR', 'DMA that the IOMMU refused, which is one of the causes']],
    cure: ['`await nvme.reset()`, or close it and open it again.'],
  },
  ERR_NVME_STATUS: {
    saw: 'read of blocks 0 to 7 failed: LBA Out of Range.',
    why: ['The controller refused or failed the command; `details.status` has type, code, name and doNotRetry.'],
    check: [['`error.details.status`', 'what it says; NVM Express Base Specification, section Status Codes']],
    cure: ['Try again where `doNotRetry` is false; else correct the command.'],
  },
  ERR_NVME_TIMEOUT: {
    saw: 'Command 3 of queue 1 did not complete within 30000 ms.',
    why: [
      'The disk is slow or faulty.',
      'The controller cannot deliver the completion: bus mastering is off, or its memory was unmapped.',
    ],
    check: [['dmesg | grep -i DMAR', 'DMA that the IOMMU refused']],
    cure: ['Close the controller, whose reset stops what is in flight, and open it again.'],
  },
  ERR_NVME_CONTROLLER: {
    saw: 'The controller does not have the NVM command set (CAP.CSS).',
    why: ['This is no NVMe controller, or one of a kind that the example driver does not run.'],
    check: [['vfio list', 'what is at the address: class 0108 is NVMe']],
    cure: ['Pass the address of an NVMe controller.', 'The message says what is lacking.'],
  },
  ERR_NVME_ARGUMENT: {
    saw: 'Namespace 1 refused: 1000 bytes are not whole blocks of 512.',
    why: ['Lengths and places on a disk are whole blocks, and slots and depths of queues have limits.'],
    cure: ['Use multiples of `namespace.blockSize`; the message says the limit.'],
  },
};
