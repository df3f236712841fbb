import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mebibytes, noiommuMessages, nvme, plan, type Run, type RunResult, type TestResult } from '../../src/suite.js';

const size = mebibytes(448);

/** Three disks: two with a file system made by the guest's kernel, one that our driver fills. */
const machine = (name: 'iommu' | 'noiommu'): Run => ({
  name,
  mode: name,
  memoryMiB: 2048,
  slots: [[nvme('source')], [nvme('copy')], [nvme('target')]],
  disks: ['source', 'copy', 'target'].map((disk) => ({ name: disk, bytes: size })),
  carryModules: ['nvme', 'ext4', 'crc32c_generic'],
  hugePages: name === 'noiommu' ? 64 : 0,
  seconds: 1500,
  silentSeconds: 240,
  expected: [
    { pattern: /EXT4-fs .*mounted filesystem/, reason: 'the kernel says that it mounted what our driver wrote' },
    ...(name === 'noiommu' ? noiommuMessages : []),
  ],
});

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** The host's view of the images, which no driver of ours had a hand in, against what the guest reported. */
async function judgeRun({ run, fields, images }: RunResult) {
  const source = await sha256(images.source as string);
  const copy = await sha256(images.copy as string);
  const target = await sha256(images.target as string);
  const readMatches = fields.sourceSha256 === source;
  const writeMatches = copy === target && fields.filesMatch === true;
  const verdict = (title: string, holds: boolean, message: string): TestResult =>
    holds
      ? { status: 'passed', title: `${run.name}: ${title}` }
      : { status: 'failed', title: `${run.name}: ${title}`, message };
  return {
    tests: [
      verdict(
        'what our driver read from the whole disk is the image',
        readMatches,
        `read ${String(fields.sourceSha256)}, image ${source}`,
      ),
      verdict('what our driver wrote is the other image', copy === target, `image ${copy}, written ${target}`),
    ],
    fields: {
      readMatches,
      writeMatches,
      filesChecked: fields.filesChecked,
      bytes: fields.bytes,
      interrupts: fields.interrupts,
      seconds: fields.seconds,
    },
  };
}

export default plan({
  title: 'file systems of the guest kernel on NVMe disks, read and written by our driver',
  runs: [machine('iommu'), machine('noiommu')],
  judge: async (results) => {
    const judged = await Promise.all(results.map(judgeRun));
    return {
      tests: judged.flatMap(({ tests }) => tests),
      fields: { modes: Object.fromEntries(judged.map(({ fields }, i) => [results[i]?.run.name, fields])) },
    };
  },
});
