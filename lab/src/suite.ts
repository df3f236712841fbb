import type { KernelLine } from './kernel.js';
import type { Tool } from './packages.js';

/** With an IOMMU (QEMU's intel-iommu) or without one. Which VFIO modules that takes: `vfioModules`. */
export type Mode = 'iommu' | 'noiommu';

/** A kernel message that a run may log, and why that is right. */
export interface ExpectedMessage {
  readonly pattern: RegExp;
  readonly reason: string;
  /** The run fails when no such message came. Default false. */
  readonly required?: boolean;
}

/** An empty disk image made for a run; it is gone when the suite has been judged. */
export interface DiskImage {
  /** The QEMU name of the drive: `nvme,drive=NAME,serial=...`. */
  readonly name: string;
  /** Size in bytes, a multiple of 4096. The file is sparse. */
  readonly bytes: number;
  /** Further options of QEMU's drive, as they are: `throttling.iops-read=100`. */
  readonly options?: string;
}

/** One boot of a guest. */
export interface Run {
  /** Names the run in reports; its fields appear as `modes[name]`. */
  readonly name: string;
  readonly mode: Mode;
  /** Which kernel. Default 6.1; 6.12 has iommufd and device files besides. */
  readonly kernel?: KernelLine;
  /** The guest's program, a TypeScript file of the suite's folder. Default `guest.ts`. */
  readonly guest?: string;
  /** Default 1024. */
  readonly memoryMiB?: number;
  /**
   * QEMU devices behind root ports: the first list is the slot with bus number 1 (`0000:01:00.0`), and so on. More
   * than one device in a slot needs `addr=` and `multifunction=on`. No `bus=`: the lab adds it.
   */
  readonly slots?: readonly (readonly string[])[];
  readonly disks?: readonly DiskImage[];
  /** Further QEMU arguments, as they are. */
  readonly qemu?: readonly string[];
  /** Kernel modules loaded at start after VFIO's, each with its parameters. */
  readonly modules?: readonly string[];
  /** Kernel modules that are there but not loaded: the kernel loads them itself on demand, or `loadModule` does. */
  readonly carryModules?: readonly string[];
  /** C files of the suite's folder, each built into a kernel module of that name and carried, not loaded. */
  readonly ownModules?: readonly string[];
  /** C files of the suite's folder, each built into a program; the guest finds them with `program(name)`. */
  readonly programs?: readonly string[];
  /** TypeScript files of the suite's folder, each bundled as the guest's program is; the guest finds them with `script(name)`. */
  readonly scripts?: readonly string[];
  /** Whether VFIO's modules are loaded at start. Default true; otherwise they are carried. */
  readonly vfio?: boolean;
  /** Huge pages of 2 MiB reserved at start; hugetlbfs is then mounted at /dev/hugepages. Default 0. */
  readonly hugePages?: number;
  /** Added to the kernel's command line. */
  readonly kernelArguments?: readonly string[];
  /** Environment of the guest's program. */
  readonly environment?: Readonly<Record<string, string>>;
  /** The whole boot must end within this. Generous: a hang costs it, a slow machine needs it. Default 600. */
  readonly seconds?: number;
  /** The run has failed when neither a kernel message nor a result came for so long. Default 180. */
  readonly silentSeconds?: number;
  readonly expected?: readonly ExpectedMessage[];
  /**
   * For checks of the lab itself: the run plants a failure and passes only when the lab reports one that matches.
   * Whatever else the run reported counts for nothing.
   */
  readonly plants?: RegExp;
}

/** A suite that boots guests. */
export interface GuestPlan {
  /** One line for the list of suites. */
  readonly title: string;
  readonly runs: readonly Run[];
  /** How many runs may be under way at once. Default 1: they share the machine's processors, and each becomes slower. */
  readonly sideBySide?: number;
  /** Programs that the guests need beyond the lab's own. */
  readonly tools?: readonly Tool[];
  /** Looks at all runs together; what it returns is added to the report. Without it: `modes[run] = fields`. */
  readonly judge?: (runs: readonly RunResult[]) => Judgement | Promise<Judgement>;
}

/** A suite that checks something on the host and boots nothing. */
export interface HostPlan {
  readonly title: string;
  readonly tools?: readonly Tool[];
  readonly host: (lab: HostLab) => Promise<HostResult>;
}

export type Plan = GuestPlan | HostPlan;

/** What a host suite may use of the lab. */
export interface HostLab {
  readonly say: (line: string) => void;
  /** A fresh folder for files of this run, kept after it. */
  readonly folder: string;
}

export interface HostResult {
  readonly kernels: readonly string[];
  readonly tests: readonly TestResult[];
  readonly fields: Readonly<Record<string, unknown>>;
}

export type TestResult =
  | { readonly status: 'passed'; readonly title: string; readonly milliseconds?: number }
  | { readonly status: 'failed'; readonly title: string; readonly message: string }
  | { readonly status: 'skipped'; readonly title: string; readonly message: string };

/** What one boot brought. */
export interface RunResult {
  readonly run: Run;
  readonly release: string | undefined;
  readonly tests: readonly TestResult[];
  readonly fields: Readonly<Record<string, unknown>>;
  /** Kernel messages that the run did not expect. */
  readonly unexpected: readonly string[];
  readonly seconds: number;
  /** The folder of the run: `console.log`, `results.jsonl`, `kernel.log`. */
  readonly folder: string;
  /** Paths of the disk images by name; readable while `judge` runs. */
  readonly images: Readonly<Record<string, string>>;
}

export interface Judgement {
  /** Checks over all runs together. */
  readonly tests?: readonly TestResult[];
  /** The suite's own fields of the report. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** Gives a plan its type. */
export const plan = (value: GuestPlan): GuestPlan => value;
/** Gives a plan of a host suite its type. */
export const hostPlan = (value: HostPlan): HostPlan => value;

/** The size of a drive as QEMU's first NVMe controller sees it behind a slot of its own. */
export const nvme = (drive: string, more = ''): string =>
  `nvme,drive=${drive},serial=lab-${drive}${more && `,${more}`}`;

export const mebibytes = (count: number): number => count * 2 ** 20;

/** What a kernel logs when a device is bound and opened in no-IOMMU mode, for `expected`. */
export const noiommuMessages: readonly ExpectedMessage[] = [
  {
    pattern: /vfio-noiommu|Adding kernel taint|opened by user/,
    reason: 'no-IOMMU mode taints and warns at bind and open [NOI-9] [NOI-21]',
  },
];

/** What the driver of the IOMMU logs beside the lines that name the refused accesses, for `expected`. */
export const iommuFaultMessages: readonly ExpectedMessage[] = [
  { pattern: /DMAR: DRHD: handling fault status reg/, reason: "the IOMMU's interrupt for refused DMA" },
  {
    pattern: /dmar_fault: \d+ callbacks suppressed/,
    reason: 'refused accesses that came too fast for the kernel to print each',
  },
];
