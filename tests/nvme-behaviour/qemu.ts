/** Runs the cases on QEMU's controller: `npx tsx tests/nvme-behaviour/qemu.ts [WORDS OF A TITLE]`. */

import { nvmeBehaviour, possible, runBehaviour } from './index.js';
import { NvmeOnQemu } from './on-qemu.js';

const wanted = process.argv.slice(2).join(' ');
const raw = new NvmeOnQemu();
let failed = 0;
let passed = 0;
let left = 0;
try {
  for (const behaviour of nvmeBehaviour) {
    if (!behaviour.title.includes(wanted)) continue;
    if (!possible(behaviour, raw)) {
      left++;
      console.log(`not here  ${behaviour.title}`);
      continue;
    }
    try {
      await runBehaviour(behaviour, raw);
      passed++;
      console.log(`ok        ${behaviour.title}`);
    } catch (error) {
      failed++;
      console.log(`FAILED    ${behaviour.title}\n          ${error instanceof Error ? error.message : String(error)}`);
    }
  }
} finally {
  raw.close();
}
console.log(`${passed} passed, ${failed} failed, ${left} cannot be run here`);
process.exitCode = failed === 0 ? 0 : 1;
