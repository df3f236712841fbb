/** Every error code of the SDK, what it means, and what cures it in general. The troubleshooting page is made from this table. */

export interface ErrorKind {
  /** `configuration`: set the machine up; `gone`: the device left; `retry`: later may work; `program`: the caller's mistake; `device`: the device said no. */
  readonly meaning: 'configuration' | 'gone' | 'retry' | 'program' | 'device';
  /** When it appears, in one sentence. */
  readonly when: string;
  /** What to do, in one sentence. */
  readonly remedy: string;
}

const kind = (meaning: ErrorKind['meaning'], when: string, remedy: string): ErrorKind => ({ meaning, when, remedy });

export const errorKinds = {
  ERR_VFIO_NO_BACKEND: kind(
    'configuration',
    'There is no VFIO here: not Linux, or the native part is missing.',
    'Pass a backend, for example the simulation: { backend: simulation({ ... }) }.',
  ),
  ERR_VFIO_NOT_LOADED: kind(
    'configuration',
    'The modules of VFIO are not loaded, or their files are not there.',
    'Load them: modprobe vfio-pci.',
  ),
  ERR_VFIO_PERMISSION: kind(
    'configuration',
    'The kernel refused for lack of rights.',
    'Run as root, or give yourself the file: sudo chown $USER /dev/vfio/GROUP (or /dev/iommu and /dev/vfio/devices/vfioX).',
  ),
  ERR_VFIO_NO_IOMMU: kind(
    'configuration',
    'The machine has no IOMMU, or it is off.',
    'Switch the IOMMU on in the firmware and boot with intel_iommu=on (Intel) or amd_iommu=on (AMD).',
  ),
  ERR_VFIO_NOIOMMU_OFF: kind(
    'configuration',
    'No-IOMMU mode was asked for and is switched off in the kernel.',
    'Switch it on, then bind the device again: echo Y > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode.',
  ),
  ERR_VFIO_UNSAFE_INTERRUPTS: kind(
    'configuration',
    'The IOMMU does not isolate interrupts.',
    'Enable interrupt remapping in the firmware, or accept the risk: echo Y > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts.',
  ),
  ERR_VFIO_NO_DEVICE: kind('configuration', 'No device has this address.', 'List what there is: vfio list.'),
  ERR_VFIO_NOT_BOUND: kind(
    'configuration',
    'The device is not bound to vfio-pci.',
    'Bind it: vfio bind ADDRESS --yes.',
  ),
  ERR_VFIO_GROUP_NOT_VIABLE: kind(
    'configuration',
    'Another member of the IOMMU group is held by a host driver.',
    'Bind every endpoint of the group to vfio-pci: vfio bind ADDRESS... --yes; error.details.members says what to do with each.',
  ),
  ERR_VFIO_BUSY: kind(
    'retry',
    'Somebody else has the group or the device open.',
    'Find it (fuser -v /dev/vfio/*) and end it, or pass its descriptors on.',
  ),
  ERR_VFIO_BIND: kind(
    'configuration',
    'The driver could not be changed.',
    'See the kernel log: dmesg | tail; bridges are not to be bound.',
  ),
  ERR_VFIO_DEVICE_IN_USE: kind(
    'configuration',
    'The host is using this device: a mounted disk, swap, or a block device on top.',
    'Unmount it and stop what holds it first.',
  ),
  ERR_VFIO_API: kind(
    'configuration',
    'The kernel speaks another VFIO version, or lacks what is asked for.',
    'Load the IOMMU model (modprobe vfio_iommu_type1), or use a kernel of 4.5 or later.',
  ),
  ERR_VFIO_MEMLOCK: kind(
    'configuration',
    'The limit on locked memory is too small.',
    'Raise it: ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit.',
  ),
  ERR_VFIO_NO_MEMORY: kind(
    'retry',
    'No memory could be had.',
    'Close buffers that are not used, ask for less, or look at free -m and the control group.',
  ),
  ERR_VFIO_NO_HUGEPAGES: kind(
    'configuration',
    'There are not enough free huge pages, or hugetlbfs is not mounted.',
    'Reserve some: echo 64 > /proc/sys/vm/nr_hugepages; mount -t hugetlbfs none /dev/hugepages.',
  ),
  ERR_VFIO_NO_IOVA: kind(
    'program',
    'No free device addresses that fit.',
    'Free buffers, or relax alignment and the address limit.',
  ),
  ERR_VFIO_MAPPING: kind(
    'program',
    'The kernel refused a DMA mapping.',
    'Leave the address to the space; EEXIST: something is mapped there; EINVAL: outside what the IOMMU translates; EFAULT: memory that cannot be pinned.',
  ),
  ERR_VFIO_MASKED_FRAMES: kind(
    'configuration',
    'The kernel hides physical page numbers from this process.',
    'Run with CAP_SYS_ADMIN: without it /proc/self/pagemap reads zero.',
  ),
  ERR_VFIO_NOT_ACKNOWLEDGED: kind(
    'program',
    'Unsafe mode was asked for without the acknowledgement.',
    'Read the safety section and pass the sentence as { acknowledge }.',
  ),
  ERR_VFIO_NOT_SUPPORTED: kind(
    'device',
    'The device, the kernel or the mode has no such thing.',
    'Ask first what there is: channel.info(), region(index), irq(index); a newer kernel may have it.',
  ),
  ERR_VFIO_ARGUMENT: kind('program', 'An argument is out of range.', 'The message says which, and the range.'),
  ERR_VFIO_WINDOW_RANGE: kind(
    'program',
    'A register access outside its window, or not aligned to its width.',
    'Check offset and width against the window\u2019s length.',
  ),
  ERR_VFIO_REGISTER_ACCESS: kind(
    'program',
    'A register was read or written against its access mode.',
    'Use it as the register table says, or correct the table.',
  ),
  ERR_VFIO_SHORT_ACCESS: kind(
    'device',
    'A region gave or took fewer bytes than asked for.',
    'Check offset and length against region(index).size.',
  ),
  ERR_VFIO_MALFORMED: kind(
    'device',
    'A reply or a capability list does not hold together.',
    'Show what it says: lspci -xxxx -s ADDRESS (as root); the device or the kernel may be faulty.',
  ),
  ERR_VFIO_CLOSED: kind('program', 'The object was closed before.', 'Keep it open as long as it is used.'),
  ERR_VFIO_TIMEOUT: kind(
    'retry',
    'Nothing came within the time.',
    'Check that bus mastering is enabled and that the device was told to interrupt.',
  ),
  ERR_VFIO_DEVICE_GONE: kind(
    'gone',
    'The device left: unplugged, revoked, or it answers all-ones.',
    'Close it; open it again once it is back.',
  ),
  ERR_VFIO_DEVICE_ASLEEP: kind(
    'device',
    'A mapped register was touched while memory decoding was off, or while the device slept in D3.',
    'Switch memory decoding on, or wake the device to D0; then call checkAlive(), which maps the registers afresh.',
  ),
  ERR_VFIO_IRQ: kind(
    'device',
    'Interrupts could not be set up as asked.',
    'Ask channel.irq(index) for the count; use fewer vectors.',
  ),
  ERR_VFIO_SYSTEM: kind(
    'configuration',
    'A system call failed in a way that has no code of its own.',
    'Look at errnoName, request and path, and at the kernel log: dmesg | tail.',
  ),
  ERR_NVME_NOT_READY: kind(
    'device',
    'The controller did not become ready (or not ready) within its own limit, CAP.TO.',
    'Reset the device; if it stays so, it is faulty.',
  ),
  ERR_NVME_FATAL: kind('device', 'The controller reports a fatal state, CSTS.CFS.', 'Reset the controller.'),
  ERR_NVME_STATUS: kind(
    'device',
    'A command ended with an error status.',
    'See details.status: its type, code, name and doNotRetry.',
  ),
  ERR_NVME_TIMEOUT: kind(
    'device',
    'A command did not complete in time.',
    'Close the controller; a reset stops what is in flight.',
  ),
  ERR_NVME_CONTROLLER: kind(
    'device',
    'This is not an NVMe controller that the driver can run.',
    'See the message for what it lacks.',
  ),
  ERR_NVME_ARGUMENT: kind(
    'program',
    'A block range, buffer or slot that does not fit.',
    'Lengths are multiples of namespace.blockSize; see the message.',
  ),
} as const satisfies Record<string, ErrorKind>;

/** An error code; each is described in {@link errorKinds}. */
export type ErrorCode = keyof typeof errorKinds;
