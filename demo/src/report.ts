import Table from 'cli-table3';
import type { Nvme } from 'vfio-drivers-example';
import type { PassResult } from './exercise.js';

/** What `--json` prints. */
export interface DemoReport {
  backend: string;
  device: string;
  /** How the kernel was reached. */
  way: string;
  controller: { model: string; serial: string; firmware: string; version: string };
  namespaces: { id: number; blockSize: number; blocks: number; bytes: number }[];
  readOnly: boolean;
  bytesWritten: number;
  bytesRead: number;
  verified: boolean;
  interrupts: PassResult;
  polled: PassResult;
}

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const microseconds = (nanoseconds: number): string => `${(nanoseconds / 1000).toFixed(1)} µs`;
const rate = (bytes: number, seconds: number): string =>
  bytes === 0 || seconds === 0 ? '-' : `${(bytes / 2 ** 20 / seconds).toFixed(0)} MiB/s`;

/** Identity of the controller, as data. */
export function describe(nvme: Nvme) {
  return {
    way: nvme.dma.way.name,
    controller: {
      model: nvme.controller.model,
      serial: nvme.controller.serial,
      firmware: nvme.controller.firmware,
      version: nvme.controller.version,
    },
    namespaces: nvme.namespaces.map(({ id, blockSize, blocks, bytes }) => ({
      id,
      blockSize,
      blocks: Number(blocks),
      bytes: Number(bytes),
    })),
  };
}

/** The readable report. */
export function render(report: DemoReport): string {
  const { controller } = report;
  const lines = [
    '',
    `Found   ${report.device}: ${controller.model}, serial ${controller.serial}, firmware ${controller.firmware}, NVMe ${controller.version}`,
    `        through ${report.backend === 'simulation' ? 'the simulation' : 'VFIO on this kernel'}, by way of ${report.way}`,
  ];
  for (const { id, blockSize, blocks, bytes } of report.namespaces)
    lines.push(`        namespace ${id}: ${mebibytes(bytes)}, ${blocks} blocks of ${blockSize} bytes`);
  lines.push(
    report.readOnly
      ? `Done    read ${mebibytes(report.bytesRead)}, twice the same: ${report.verified ? 'yes' : 'NO'} (read-only; --destroy-data also writes)`
      : `Done    wrote ${mebibytes(report.bytesWritten)}, flushed, read back ${mebibytes(report.bytesRead)}, checksums match: ${report.verified ? 'yes' : 'NO'}`,
  );
  const table = new Table({
    head: ['', 'operations', 'write', 'read', 'read p50', 'p99', 'p99.9', 'interrupts'],
    style: { head: [], border: [] },
  });
  for (const [name, pass] of [
    [`interrupts (${report.interrupts.interruptMode})`, report.interrupts],
    ['polled', report.polled],
  ] as const)
    table.push([
      name,
      pass.operations,
      rate(pass.bytesWritten, pass.seconds.write),
      rate(pass.bytesRead, pass.seconds.read),
      microseconds(pass.readLatency.p50),
      microseconds(pass.readLatency.p99),
      microseconds(pass.readLatency.p999),
      pass.interruptsTaken,
    ]);
  lines.push('', table.toString(), 'Transfers of 128 KiB, eight at once; the checksum is part of the read time.');
  return lines.join('\n');
}
