import { describe, expect, it } from 'vitest';
import { runSections } from './src/run.js';
import { sections } from './src/sections.js';
import { simulatedKernels, simulationTarget } from './src/simulation.js';

describe.each(sections)('section $name', ({ items, name, size }) => {
  it('has every item once, in order', () => {
    expect(items.map(({ id }) => id)).toEqual(Array.from({ length: size }, (_, i) => `${name}-${i + 1}`));
  });

  it.each(items.filter(({ missing }) => missing === undefined))('[$id] $words', async (item) => {
    let ran = 0;
    for (const kernel of simulatedKernels) {
      const target = simulationTarget(kernel);
      const outcomes = await runSections([{ name, title: '', size: 1, items: [item] }], target);
      ran += outcomes.length;
      expect(
        outcomes.filter(({ failure }) => failure !== undefined),
        target.name,
      ).toEqual([]);
    }
    expect(ran > 0 || item.variants.every(({ kernelOnly }) => kernelOnly !== undefined)).toBe(true);
  });
});
