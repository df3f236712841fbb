/** One entry of an archive of the form that the kernel unpacks as its first file system ("newc"). */
export interface CpioEntry {
  readonly name: string;
  /** File type and permissions as in `stat`. */
  readonly mode: number;
  readonly data?: Uint8Array;
  /** Major and minor number of a device node. */
  readonly device?: readonly [number, number];
}

export const fileMode = 0o100644;
export const programMode = 0o100755;
export const folderMode = 0o040755;
export const linkMode = 0o120777;
export const characterDeviceMode = 0o020600;

const hex = (value: number) => value.toString(16).padStart(8, '0');
const padding = (length: number) => Buffer.alloc((4 - (length % 4)) % 4);

function record(entry: CpioEntry, inode: number): Buffer {
  const data = entry.data ?? new Uint8Array();
  const name = Buffer.from(`${entry.name}\0`);
  const [major, minor] = entry.device ?? [0, 0];
  const numbers = [inode, entry.mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
  const head = Buffer.concat([Buffer.from(`070701${numbers.map(hex).join('')}`), name]);
  return Buffer.concat([head, padding(head.length), data, padding(data.length)]);
}

/** Packs entries, with every folder on the way to them, into one archive. */
export function packCpio(entries: readonly CpioEntry[]): Buffer {
  const folders = new Set<string>();
  for (const { name } of entries) {
    const parts = name.split('/').slice(0, -1);
    parts.forEach((_, i) => {
      folders.add(parts.slice(0, i + 1).join('/'));
    });
  }
  for (const { name, mode } of entries) if (mode === folderMode) folders.delete(name);
  const all: CpioEntry[] = [...folders].sort().map((name) => ({ name, mode: folderMode }));
  all.push(...entries, { name: 'TRAILER!!!', mode: 0 });
  const packed = Buffer.concat(all.map((entry, i) => record(entry, i + 1)));
  return Buffer.concat([packed, Buffer.alloc((512 - (packed.length % 512)) % 512)]);
}
