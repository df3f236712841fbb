/** Tests that need the native addon. Without it they are skipped by name; where CI is set they fail. */

import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { addonPath } from '../linux/addon.js';

/** Whether this machine has the addon. */
export const hasAddon = existsSync(addonPath());

/** `describe`, for what needs the addon. */
export function describeLinux(title: string, body: () => void): void {
  if (hasAddon) describe(title, body);
  else if (process.env.CI) {
    it(`${title}: needs the native addon`, () => expect(hasAddon, `${addonPath()} must be there in CI`).toBe(true));
  } else {
    describe.skip(`${title} (skipped: the native addon is not built, which takes a C++ compiler)`, body);
  }
}
