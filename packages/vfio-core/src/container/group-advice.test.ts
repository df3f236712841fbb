import { describe, expect, it } from 'vitest';
import type { GroupMember } from './find-group.js';
import { adviseOn, lineOf, whatParts } from './group-advice.js';

const member = (address: string, facts: Partial<GroupMember> = {}): GroupMember => ({
  address,
  driver: undefined,
  classCode: 0x0c0330,
  className: 'USB controller',
  vendor: 0x8086,
  device: 1,
  isBridge: false,
  blocksGroup: false,
  ...facts,
});
const group = (...members: GroupMember[]) => ({ id: 7, path: '/dev/vfio/7', noiommu: false, members });

describe('what to do with a member of a group', () => {
  it.each<[GroupMember, string]>([
    [
      member('0000:01:00.0', { driver: 'xhci_hcd', blocksGroup: true }),
      '0000:01:00.0 (USB controller, xhci_hcd): bind it to vfio-pci',
    ],
    [
      member('serial8250', { className: 'not a PCI device', driver: 'serial8250', blocksGroup: true }),
      'serial8250 (not a PCI device, serial8250): take its driver away: it is no PCI device',
    ],
    [
      member('0000:00:01.0', { className: 'PCI bridge', driver: 'shpchp', isBridge: true }),
      '0000:00:01.0 (PCI bridge, shpchp): a bridge is harmless: leave it as it is',
    ],
    [
      member('0000:01:00.0', { driver: 'pci-stub' }),
      '0000:01:00.0 (USB controller, pci-stub): pci-stub uses no DMA: leave it as it is',
    ],
    [member('0000:01:00.0'), '0000:01:00.0 (USB controller, no driver): nobody uses it: leave it as it is'],
    [member('0000:01:00.0', { driver: 'vfio-pci' }), '0000:01:00.0 (USB controller, vfio-pci): ready'],
  ])('%o', (one, line) => {
    expect(adviseOn(group(one)).map(lineOf)).toEqual([line]);
  });
});

describe('what parts the members of a group', () => {
  const bridge = member('0000:00:01.0', { isBridge: true });

  it('is nothing to speak of for a device that is alone but for bridges', () => {
    expect(whatParts(group(bridge, member('0000:01:00.0')))).toBeUndefined();
  });

  it('is nothing at all for functions of one device, and another slot for others', () => {
    expect(whatParts(group(bridge, member('0000:01:00.0'), member('0000:01:00.1')))).toMatch(/go to one program/);
    expect(whatParts(group(member('0000:01:00.0'), member('0000:02:00.0')))).toMatch(/another slot.*ACS/);
  });
});
