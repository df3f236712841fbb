/** What the cases of iommufd and device files have in common. */

import {
  DeviceFile,
  type DmaSpace,
  Ioas,
  Iommufd,
  isVfioError,
  KernelChannel,
  OpenDevice,
  type SystemCalls,
} from 'vfio-core';
import { Edu } from 'vfio-drivers-example';
import { equal } from '../support/equal.js';

/** Where the cases run. */
export interface IommufdBench {
  readonly backend: SystemCalls;
  /** In a group of its own. */
  readonly lone: string;
  /** An edu device, which reaches 28 bits, and a second endpoint of its group. */
  readonly edu: string;
  readonly sibling: string;
  /** What this kernel and its IOMMU have. */
  readonly has: { readonly dirtyTracking: boolean; readonly mapFile: boolean; readonly changeProcess: boolean };
}

export interface IommufdCase {
  readonly title: string;
  /** It goes by the container, on kernels without iommufd too. */
  readonly container?: boolean;
  readonly run: (bench: IommufdBench) => unknown;
}

export const PAGE = 4096;
export const both = { read: true, write: true } as const;

/** Code, errno and request of what is thrown, and that it says what to do. */
export async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (thrown) {
    if (!isVfioError(thrown)) throw thrown;
    if (!/\w/.test(thrown.remedy ?? '')) throw new Error(`${thrown.message} has no remedy`);
    return [thrown.code, thrown.errnoName, thrown.request].filter((word) => word !== undefined).join(' ');
  }
  return 'nothing thrown';
}

export async function refused(run: () => unknown, wanted: string, what: string): Promise<void> {
  equal(await refusal(run), wanted, what);
}

/** Anonymous memory of the program. */
export function memory(backend: SystemCalls, pages: number) {
  const mapping = backend.memory({ kind: 'anonymous', length: pages * PAGE });
  if (typeof mapping === 'number') throw new Error(`mmap: ${mapping}`);
  return mapping;
}

/** An edu device over a file that is bound and attached. It is closed with the descriptor. */
export async function teach(backend: SystemCalls, file: DeviceFile): Promise<Edu> {
  const channel = new KernelChannel(backend, file.release(), file.address);
  const after = () => file.close();
  return Edu.open(new OpenDevice({ channel, address: file.address, dma: undefined as unknown as DmaSpace, after }));
}

/** Edu's buffer of 4 bytes to memory, through its buffer. */
export const inward = (edu: Edu, iova: bigint) => edu.transfer(iova, 0x40000n, 4, false);
export const outward = (edu: Edu, iova: bigint) => edu.transfer(0x40000n, iova, 4, true);

/** An iommufd with an address space that the device is attached to. */
export async function ready(backend: SystemCalls, address: string) {
  const iommufd = Iommufd.open(backend);
  const file = DeviceFile.open(backend, address);
  const id = await file.bind(iommufd);
  const ioas = Ioas.allocate(iommufd);
  file.attach(ioas);
  const end = () => {
    file.close();
    iommufd.close();
  };
  return { iommufd, file, ioas, id, end };
}
