/** Ids by which a driver finds functions beside its own table: `new_id` of sysfs, and the parameter `ids` of vfio-pci. */

/** `undefined`: any. */
export interface DynamicId {
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number | undefined;
  readonly subsystemDevice: number | undefined;
  /** Class code and which of its bits count. */
  readonly class: number;
  readonly mask: number;
}

/** The leading hexadecimal fields, as sscanf(3) takes them. */
function fields(text: string, separator: RegExp): number[] {
  const found: number[] = [];
  for (const part of text.split(separator)) {
    const match = /^\s*(?:0x)?([0-9a-f]{1,8})(.?)/i.exec(part);
    if (match === null) break;
    found.push(Number.parseInt(match[1] as string, 16));
    if (match[2] !== '') break;
  }
  return found;
}

function idOf([vendor, device, subsystemVendor, subsystemDevice, class_ = 0, mask = 0]: readonly number[]):
  | DynamicId
  | undefined {
  if (vendor === undefined || device === undefined) return undefined;
  return { vendor, device, subsystemVendor, subsystemDevice, class: class_, mask };
}

/** What is written to `new_id` and `remove_id`; `undefined` for fewer than two fields. */
export const idWritten = (text: string): DynamicId | undefined => idOf(fields(text.trim(), /\s+/));

/** The parameter `ids`: what is no id is told to `onInvalid` and left out ([LIFE-18]). */
export function idsOf(parameter: string, onInvalid: (text: string) => void): DynamicId[] {
  return parameter
    .split(',')
    .filter((text) => text !== '')
    .flatMap((text) => {
      const id = idOf(fields(text, /:/));
      if (id === undefined) onInvalid(text);
      return id ?? [];
    });
}

/** How vfio-pci says that it took an id. */
export function shown({ vendor, device, subsystemVendor, subsystemDevice, class: class_, mask }: DynamicId): string {
  const hex = (value: number | undefined, digits: number) =>
    value === undefined ? 'ffffffff' : value.toString(16).padStart(digits, '0');
  const ids = `${hex(vendor, 4)}:${hex(device, 4)}[${hex(subsystemVendor, 4)}:${hex(subsystemDevice, 4)}]`;
  return `add [${ids}] class 0x${hex(class_, 6)}/${hex(mask, 8)}`;
}

/** Whether a function with this configuration space and class code is meant. */
export function meets(id: DynamicId, config: DataView, classCode: number): boolean {
  const same = (wanted: number | undefined, at: number) =>
    wanted === undefined || wanted === 0xffff_ffff || wanted === config.getUint16(at, true);
  return (
    same(id.vendor, 0) &&
    same(id.device, 2) &&
    same(id.subsystemVendor, 0x2c) &&
    same(id.subsystemDevice, 0x2e) &&
    ((id.class ^ classCode) & id.mask) === 0
  );
}

/** Whether `remove_id` with the one removes the other. */
export const sameId = (one: DynamicId, other: DynamicId): boolean => shown(one) === shown(other);
