import { describe, expect, it } from 'vitest';
import { nvmeBehaviour, possible, runBehaviour } from './index.js';
import { NvmeOnModel } from './on-model.js';

describe('the NVMe controller model', () => {
  it('is asked about every behaviour: none is left out here', () => {
    const raw = new NvmeOnModel();
    expect(nvmeBehaviour.length).toBeGreaterThan(30);
    expect(nvmeBehaviour.filter((behaviour) => !possible(behaviour, raw))).toEqual([]);
    expect(new Set(nvmeBehaviour.map(({ title }) => title)).size).toBe(nvmeBehaviour.length);
  });

  for (const behaviour of nvmeBehaviour) {
    it(behaviour.title, async () => {
      await runBehaviour(behaviour, new NvmeOnModel());
    });
  }
});
