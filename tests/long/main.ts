// The property tests of `npm test` for as long as wanted:
//   tsx tests/long/main.ts NAME [--cases N] [--seed N] [--json]
// `allocator` against its model, `churn` for a day of mappings coming and going, `decoders` of the kernel's replies (N cases each),
// `config` for configuration space, `all`. Ten million cases or steps by default. Ends with 1 where a property broke.
import { parseArgs } from 'node:util';
import { churn, meanRequest } from '../../packages/vfio-core/src/testing/allocator-churn.js';
import { checkAgainstModel } from '../../packages/vfio-core/src/testing/allocator-properties.js';
import { decoderProperties, tryDecoder } from '../../packages/vfio-core/src/testing/decoder-properties.js';
import { tryConfigSpaces } from '../bad-input/config-properties.js';

/** Cases that one seed makes: where one breaks, no more than these have to be repeated. */
const portion = 250_000;
const mostLive = 65_535;

type Sums = Record<string, number>;

/** Runs portions with seeds of their own until there are enough, and adds up what they count. */
function portions(seed: number, cases: number, run: (seed: number, cases: number) => object): Sums {
  const sums: Sums = {};
  for (let done = 0; done < cases; done += portion) {
    const counts = Object.entries(run(seed + done / portion, Math.min(portion, cases - done)) as Sums);
    for (const [name, count] of counts)
      sums[name] = name.startsWith('most') ? Math.max(sums[name] ?? 0, count) : (sums[name] ?? 0) + count;
  }
  return sums;
}

/** Fails where the last quarter is worse than the first: then a longer day would be worse still. */
function day(seed: number, steps: number, full: number): object {
  const size = BigInt(Math.round((mostLive * meanRequest) / full));
  const quarters = churn(seed, steps, mostLive, [{ start: 2n ** 32n, end: 2n ** 32n + size }]);
  const [first, , , last] = quarters;
  const cutUp = (quarter: typeof first) => (quarter === undefined ? 0 : quarter.freeBytes - quarter.largestFree);
  if (
    first === undefined ||
    last === undefined ||
    last.holes > 1.05 * first.holes ||
    cutUp(last) > 1.1 * cutUp(first)
  ) {
    throw new Error(`the free addresses are cut up more and more: ${JSON.stringify(quarters)}`);
  }
  return { steps, live: mostLive, quarters };
}

const runs: Readonly<Record<string, (seed: number, cases: number) => Record<string, object>>> = {
  allocator: (seed, cases) => ({ 'against the model': portions(seed, cases, checkAgainstModel) }),
  churn: (seed, cases) => ({
    'three quarters full': day(seed, cases / 2, 0.75),
    'one part in a hundred full': day(seed, cases / 2, 0.01),
  }),
  decoders: (seed, cases) =>
    Object.fromEntries(
      Object.entries(decoderProperties).map(([name, property]) => [
        name,
        portions(seed, cases, (one, count) => tryDecoder(name, property, one, count)),
      ]),
    ),
  config: (seed, cases) => ({
    'configuration space': portions(seed, cases, (one, count) => tryConfigSpaces(one, count, 2000)),
  }),
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cases: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean' },
  },
});
const [name = 'all'] = positionals;
const chosen = Object.entries(runs).filter(([one]) => name === 'all' || name === one);
const [cases, seed] = [Number(values.cases), Number(values.seed)];

if (chosen.length === 0 || !Number.isSafeInteger(cases) || cases < 1 || !Number.isSafeInteger(seed)) {
  console.log(
    `tsx tests/long/main.ts NAME [--cases N] [--seed N], where NAME is one of: all, ${Object.keys(runs).join(', ')}`,
  );
  process.exitCode = 2;
} else {
  // Most cases end in an error, and a stack costs more than a decoder.
  Error.stackTraceLimit = 0;
  const answers: Record<string, object> = {};
  for (const [one, run] of chosen) {
    const start = performance.now();
    try {
      for (const [what, counts] of Object.entries(run(seed, cases))) {
        answers[what] = counts;
        if (values.json !== true) console.log(`${what}: ${JSON.stringify(counts)}`);
      }
    } catch (thrown) {
      answers[one] = { failed: thrown instanceof Error ? thrown.message : String(thrown) };
      console.log(`${one} FAILED: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      process.exitCode = 1;
    }
    if (values.json !== true) console.log(`${one}: ${((performance.now() - start) / 1000).toFixed(0)} s`);
  }
  if (values.json === true) console.log(JSON.stringify(answers));
}
