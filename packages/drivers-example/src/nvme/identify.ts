/**
 * What Identify returns, as tables: name, byte offset, kind.
 * Source: NVM Express Base 1.4, section 5.15.2.1 (namespace) and 5.15.2.2 (controller).
 */

type Kind = 'u8' | 'u16' | 'u32' | 'u64' | { readonly text: number };
type Layout = Readonly<Record<string, readonly [offset: number, kind: Kind]>>;
type Decoded<T extends Layout> = {
  readonly [K in keyof T]: T[K][1] extends 'u64' ? bigint : T[K][1] extends string ? number : string;
};

/** Bytes of every Identify data structure. */
export const IDENTIFY_BYTES = 4096;

/** Identify Controller, CNS 01h: the part that this driver reads. */
export const controllerLayout = {
  /** VID: PCI vendor id. */
  vendor: [0, 'u16'],
  /** SSVID: PCI subsystem vendor id. */
  subsystemVendor: [2, 'u16'],
  /** SN: serial number. */
  serial: [4, { text: 20 }],
  /** MN: model number. */
  model: [24, { text: 40 }],
  /** FR: firmware revision. */
  firmware: [64, { text: 8 }],
  /** MDTS: 0, or the power of two of the largest transfer, in units of the minimum memory page size. */
  maxTransferShift: [77, 'u8'],
  /** CNTLID: controller id. */
  controllerId: [78, 'u16'],
  /** VER: version, as register VS; 0 before version 1.2. */
  versionNumber: [80, 'u32'],
  /** RTD3E: microseconds that a shutdown takes, 0 where not reported. */
  shutdownMicroseconds: [88, 'u32'],
  /** OACS: optional admin commands. */
  optionalAdminCommands: [256, 'u16'],
  /** SQES: smallest (bits 3:0) and largest submission entry, as powers of two. */
  submissionEntrySize: [512, 'u8'],
  /** CQES: the same for completion entries. */
  completionEntrySize: [513, 'u8'],
  /** NN: the highest namespace id. */
  namespaceCount: [516, 'u32'],
  /** ONCS: optional I/O commands. */
  optionalCommands: [520, 'u16'],
  /** VWC: bit 0, the controller has a volatile write cache. */
  volatileWriteCache: [525, 'u8'],
  /** SUBNQN: the subsystem's qualified name. */
  subsystemName: [768, { text: 256 }],
} as const satisfies Layout;

/** Identify Namespace, CNS 00h. */
export const namespaceLayout = {
  /** NSZE: size in logical blocks. */
  blocks: [0, 'u64'],
  /** NCAP: capacity in logical blocks. */
  capacity: [8, 'u64'],
  /** NUSE: used logical blocks. */
  used: [16, 'u64'],
  /** NSFEAT: features. */
  features: [24, 'u8'],
  /** NLBAF: number of formats, 0's based. */
  formatCount: [25, 'u8'],
  /** FLBAS: bits 3:0, the format in use. */
  format: [26, 'u8'],
  /** MC: metadata capabilities. */
  metadataCapabilities: [27, 'u8'],
  /** DPS: end-to-end data protection in force. */
  protection: [29, 'u8'],
  /** NSATTR: bit 0, write protected. */
  attributes: [99, 'u8'],
} as const satisfies Layout;

/** Where the list of LBA formats starts; 4 bytes each: metadata bytes (u16), block size as a power of two (u8), performance. */
const LBA_FORMATS = 128;

/** Decoded Identify Controller. */
export interface ControllerData extends Decoded<typeof controllerLayout> {
  /** VER in words: `1.4.0`. */
  readonly version: string;
}

/** Decoded Identify Namespace. */
export interface NamespaceData extends Decoded<typeof namespaceLayout> {
  /** Bytes of a logical block, in the format in use. */
  readonly blockSize: number;
  /** Bytes of metadata with each block, in the format in use. */
  readonly metadataBytes: number;
}

function decode<T extends Layout>(layout: T, bytes: Uint8Array): Decoded<T> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = (offset: number, kind: Kind): number | bigint | string => {
    switch (kind) {
      case 'u8':
        return view.getUint8(offset);
      case 'u16':
        return view.getUint16(offset, true);
      case 'u32':
        return view.getUint32(offset, true);
      case 'u64':
        return view.getBigUint64(offset, true);
      default:
        return text(bytes.subarray(offset, offset + kind.text));
    }
  };
  return Object.fromEntries(
    Object.entries(layout).map(([name, [offset, kind]]) => [name, read(offset, kind)]),
  ) as Decoded<T>;
}

/** ASCII, padded with spaces or zeros; bytes that are not printable become `?`, since they end up on terminals. */
function text(bytes: Uint8Array): string {
  let result = '';
  for (const byte of bytes) {
    if (byte === 0) break;
    result += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '?';
  }
  return result.trim();
}

/** `1.4.0` for a value of register VS. Source: section 3.1.2. */
export const versionText = (version: number): string => `${version >>> 16}.${(version >>> 8) & 0xff}.${version & 0xff}`;

/** Decodes 4096 bytes of Identify Controller. */
export function decodeController(bytes: Uint8Array): ControllerData {
  const data = decode(controllerLayout, bytes);
  return { ...data, version: versionText(data.versionNumber) };
}

/** Decodes 4096 bytes of Identify Namespace. */
export function decodeNamespace(bytes: Uint8Array): NamespaceData {
  const data = decode(namespaceLayout, bytes);
  const at = LBA_FORMATS + (data.format & 0xf) * 4;
  const shift = bytes[at + 2] ?? 0;
  return { ...data, blockSize: 2 ** shift, metadataBytes: (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) };
}

/** Decodes a namespace list, CNS 02h: ids in rising order, ended by 0. Source: section 4.9 (Namespace List). */
export function decodeNamespaceList(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ids: number[] = [];
  for (let offset = 0; offset + 4 <= bytes.byteLength; offset += 4) {
    const id = view.getUint32(offset, true);
    if (id === 0) break;
    ids.push(id);
  }
  return ids;
}
