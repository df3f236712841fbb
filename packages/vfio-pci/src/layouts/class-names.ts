/** Names of device classes. Source: PCI Code and ID Assignment Specification, chapter 1. */

import { pciClassName } from 'vfio-core';

const programming: Readonly<Record<number, string>> = {
  67073: 'AHCI 1.0',
  67586: 'NVM Express',
  787200: 'UHCI',
  787216: 'OHCI',
  787232: 'EHCI',
  787248: 'XHCI',
};

/**
 * A class in words: `Non-Volatile memory controller`.
 * @param code base class, subclass and programming interface, 24 bits: `0x010802`
 */
export const className = (code: number): string => pciClassName(code);

/** The programming interface in words, where it has a name: `NVM Express`. */
export const interfaceName = (code: number): string | undefined => programming[code];
