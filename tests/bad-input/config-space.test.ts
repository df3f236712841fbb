import { describe, expect, it } from 'vitest';
import { tryConfigSpaces } from './config-properties.js';

describe('configuration space of any bytes', () => {
  it('lists what lies inside and once, says where it breaks, and gives registers where they fit', () => {
    const { entries, broken, cutOff, bound } = tryConfigSpaces(1, 10_000, 50);
    expect(entries).toBeGreaterThan(10_000);
    expect(Math.min(broken, cutOff, bound)).toBeGreaterThan(200);
  });
});
