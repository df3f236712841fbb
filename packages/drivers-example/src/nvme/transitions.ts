/** What takes a controller from one state to another, asked for by several callers: one at a time. */

export class Transitions<Kind extends string> {
  private running: { readonly kind: Kind; readonly done: Promise<void> } | undefined;

  /** What is under way. */
  get current(): Kind | undefined {
    return this.running?.kind;
  }

  /** Starts `work`, at once where nothing is under way. Joins the same kind that runs already; waits for the end of another. */
  async run(kind: Kind, work: () => Promise<void>): Promise<void> {
    while (this.running !== undefined && this.running.kind !== kind) {
      await this.running.done.catch(() => {}); // told to who asked for it
    }
    this.running ??= {
      kind,
      done: work().finally(() => {
        this.running = undefined;
      }),
    };
    await this.running.done;
  }
}
