import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { layers } from '../../scripts/layers.mjs';
import { root } from './run-program.js';

/** A published package of this repository. */
export interface PublishedPackage {
  readonly name: string;
  readonly folder: string;
  readonly manifest: {
    readonly version: string;
    readonly exports: Record<string, unknown>;
    readonly dependencies?: Record<string, string>;
  };
}

/** All published packages, dependencies first. */
export const published: readonly PublishedPackage[] = Object.entries(layers).map(([path, { name }]) => {
  const folder = join(root, path);
  return { name, folder, manifest: JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) };
});

/** Those that are libraries: everything but the command. */
export const libraries = published.filter(({ name }) => name !== 'vfio-cli');
