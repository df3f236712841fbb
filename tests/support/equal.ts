/** A value as text, for messages and comparisons. */
export const show = (value: unknown): string =>
  JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `0x${v.toString(16)}n` : v));

/** Throws unless both values have the same text. For cases that run in a guest too, where no test runner is. */
export function equal(actual: unknown, wanted: unknown, what: string): void {
  if (show(actual) !== show(wanted)) throw new Error(`${what}: got ${show(actual)}, wanted ${show(wanted)}`);
}
