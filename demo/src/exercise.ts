import { createHash } from 'node:crypto';
import type { DmaBuffer } from 'vfio-core';
import type { Namespace, Nvme } from 'vfio-drivers-example';
import { fill } from './content.js';
import { LatencyHistogram } from './latency.js';

/** What one pass over one controller did. */
export interface PassResult {
  operations: number;
  bytesWritten: number;
  bytesRead: number;
  verified: boolean;
  /** SHA-256 of what was read, by namespace id. */
  checksums: Record<number, string>;
  interruptMode: string;
  interruptsTaken: number;
  seconds: { write: number; read: number };
  readLatency: { p50: number; p99: number; p999: number };
}

export interface PassOptions {
  /** Bytes of each namespace to touch. */
  readonly bytes: number;
  readonly write: boolean;
  /** What a read-only pass must find: the checksums of an earlier pass. */
  readonly expected?: Record<number, string>;
  readonly seed: number;
  onProgress(bytes: number): void;
}

/** Transfers of one command's size, so many at once. */
const transferBytes = 128 * 1024;
const depth = 8;

const seconds = (from: bigint): number => Number(process.hrtime.bigint() - from) / 1e9;

/** Writes, flushes, reads back and verifies every namespace (or only reads). */
export async function exercise(nvme: Nvme, options: PassOptions): Promise<PassResult> {
  const latency = new LatencyHistogram();
  const result: PassResult = {
    operations: 0,
    bytesWritten: 0,
    bytesRead: 0,
    verified: true,
    checksums: {},
    interruptMode: nvme.interruptMode,
    interruptsTaken: 0,
    seconds: { write: 0, read: 0 },
    readLatency: { p50: 0, p99: 0, p999: 0 },
  };
  const buffers = Array.from({ length: depth }, () => nvme.dma.allocate(transferBytes, { contiguous: false }));
  try {
    for (const namespace of nvme.namespaces) {
      const bytes = Math.min(options.bytes, Number(namespace.bytes));
      const transfers = Math.floor(bytes / transferBytes);
      if (transfers === 0) continue;
      if (options.write) await writeAll(namespace, buffers, transfers, options, result);
      await readAll(namespace, buffers, transfers, options, result, latency);
    }
  } finally {
    for (const buffer of buffers) buffer.close();
  }
  result.interruptsTaken = nvme.interruptCount;
  result.readLatency = { p50: latency.percentile(50), p99: latency.percentile(99), p999: latency.percentile(99.9) };
  return result;
}

const seedOf = (namespace: Namespace, options: PassOptions): number =>
  (options.seed ^ Math.imul(namespace.id, 0x9e3779b1)) >>> 0;

async function writeAll(
  namespace: Namespace,
  buffers: readonly DmaBuffer[],
  transfers: number,
  options: PassOptions,
  result: PassResult,
): Promise<void> {
  const started = process.hrtime.bigint();
  const blocks = transferBytes / namespace.blockSize;
  for (let first = 0; first < transfers; first += depth) {
    const batch = buffers.slice(0, Math.min(depth, transfers - first));
    await Promise.all(
      batch.map((buffer, i) => {
        fill(buffer.bytes, (first + i) * transferBytes, seedOf(namespace, options));
        return namespace.write(BigInt((first + i) * blocks), buffer);
      }),
    );
    result.operations += batch.length;
    result.bytesWritten += batch.length * transferBytes;
    options.onProgress(batch.length * transferBytes);
  }
  await namespace.flush();
  result.operations++;
  result.seconds.write += seconds(started);
}

async function readAll(
  namespace: Namespace,
  buffers: readonly DmaBuffer[],
  transfers: number,
  options: PassOptions,
  result: PassResult,
  latency: LatencyHistogram,
): Promise<void> {
  const started = process.hrtime.bigint();
  const blocks = transferBytes / namespace.blockSize;
  const found = createHash('sha256');
  const wanted = createHash('sha256');
  const expected = new Uint8Array(transferBytes);
  for (let first = 0; first < transfers; first += depth) {
    const batch = buffers.slice(0, Math.min(depth, transfers - first));
    await Promise.all(
      batch.map(async (buffer, i) => {
        buffer.bytes.fill(0);
        const submitted = process.hrtime.bigint();
        await namespace.read(BigInt((first + i) * blocks), buffer);
        latency.add(Number(process.hrtime.bigint() - submitted));
      }),
    );
    for (const [i, buffer] of batch.entries()) {
      found.update(buffer.bytes);
      if (!options.write) continue;
      fill(expected, (first + i) * transferBytes, seedOf(namespace, options));
      wanted.update(expected);
    }
    result.operations += batch.length;
    result.bytesRead += batch.length * transferBytes;
    options.onProgress(batch.length * transferBytes);
  }
  const checksum = found.digest('hex');
  result.checksums[namespace.id] = checksum;
  result.seconds.read += seconds(started);
  const shouldBe = options.write ? wanted.digest('hex') : options.expected?.[namespace.id];
  if (shouldBe !== undefined && shouldBe !== checksum) result.verified = false;
}
