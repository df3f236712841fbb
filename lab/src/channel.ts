import { appendFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A line of the guest's report. */
export type GuestLine =
  | { readonly kind: 'begin'; readonly release: string; readonly node: string }
  | { readonly kind: 'test'; readonly title: string }
  | { readonly kind: 'passed'; readonly title: string; readonly milliseconds: number }
  | { readonly kind: 'failed'; readonly title: string; readonly message: string }
  | { readonly kind: 'skipped'; readonly title: string; readonly message: string }
  | { readonly kind: 'field'; readonly name: string; readonly value: unknown }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'monitor'; readonly id: number; readonly command: string }
  | { readonly kind: 'end'; readonly tests: number };

/** Connects to a Unix socket that a starting QEMU is about to open. */
async function connectSoon(path: string): Promise<Socket> {
  for (let attempt = 0; ; attempt++) {
    const socket = connect(path);
    const error = await new Promise<Error | undefined>((resolve) => {
      socket.once('connect', () => resolve(undefined));
      socket.once('error', resolve);
    });
    if (!error) return socket.on('error', () => undefined);
    socket.destroy();
    if (attempt > 200) throw error;
    await sleep(50);
  }
}

/** Sends one command to QEMU's monitor and returns its answer. */
async function monitorCommand(path: string, command: string): Promise<string> {
  const socket = await connectSoon(path);
  let text = '';
  socket.setEncoding('utf8').on('data', (data: string) => {
    text += data;
  });
  const prompts = async (count: number) => {
    for (let i = 0; i < 400 && text.split('(qemu) ').length - 1 < count; i++) await sleep(25);
  };
  await prompts(1);
  text = '(qemu) ';
  socket.write(`${command}\n`);
  await prompts(2);
  socket.destroy();
  return (
    text
      .split('(qemu) ')[1]
      ?.replace(/^[^\n]*\n/, '')
      .trim() ?? ''
  );
}

/** Reads the guest's results from the second serial line, keeps them in a file, and does what they ask of the monitor. */
export async function openChannel(
  paths: { readonly results: string; readonly monitor: string; readonly file: string },
  heard: (line: GuestLine) => void,
): Promise<() => void> {
  const socket = await connectSoon(paths.results);
  let rest = '';
  socket.setEncoding('utf8').on('data', (data: string) => {
    const lines = (rest + data).split(/\r?\n/);
    rest = lines.pop() ?? '';
    for (const text of lines) {
      if (!text.startsWith('{')) continue;
      appendFileSync(paths.file, `${text}\n`);
      const line = JSON.parse(text) as GuestLine;
      heard(line);
      if (line.kind === 'monitor') {
        void monitorCommand(paths.monitor, line.command)
          .catch((error: Error) => error.message)
          .then((answer) => socket.write(`${JSON.stringify({ id: line.id, answer })}\n`));
      }
    }
  });
  return () => socket.destroy();
}
