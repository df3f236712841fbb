/** What keeps this machine from running the lab. Nothing was checked when this is thrown. */
export class CannotRun extends Error {
  constructor(readonly missing: readonly string[]) {
    super(missing.join('; '));
    this.name = 'CannotRun';
  }
}

/** The lines that say so. */
export const describeCannotRun = (suite: string, error: CannotRun): string[] => [
  `${suite}: NOTHING WAS CHECKED. This machine cannot run it. Missing:`,
  ...error.missing.map((missing) => `  - ${missing}`),
];

/** 77 is the code for "skipped"; in CI, where nothing may be skipped, it is a failure. */
export const cannotRunCode = (environment: Readonly<Record<string, string | undefined>>): number =>
  environment.CI === 'true' ? 1 : 77;
