/** Which pages have to be mapped for a part of a region. */

import type { RegionInfo } from './device.js';

/**
 * The whole pages around a part; undefined where one of them may not be mapped, or there are none.
 * A window is of one kind: it is decided here, once, and not in each access.
 */
export function mappableSpan(
  region: RegionInfo,
  offset: number,
  length: number,
  pageSize: number,
): { readonly start: number; readonly length: number } | undefined {
  if (!region.mappable || length === 0) return undefined;
  const start = Math.floor(offset / pageSize) * pageSize;
  const end = Math.ceil((offset + length) / pageSize) * pageSize;
  // A BAR smaller than a page is mapped as its whole page ([DEV-11]), so areas count up to the end of their last page where
  // the region ends inside it.
  const inside = region.mappableAreas.some((area) => {
    const areaEnd = area.offset + area.size;
    const reach = areaEnd === region.size ? Math.ceil(areaEnd / pageSize) * pageSize : areaEnd;
    return start >= area.offset && end <= reach;
  });
  return inside ? { start, length: end - start } : undefined;
}
