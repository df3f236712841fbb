import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a program printed, and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command under a time limit; never throws for its exit code. */
export function run(
  command: string,
  args: readonly string[],
  options: { cwd: string; seconds?: number; env?: NodeJS.ProcessEnv },
): Promise<Outcome> {
  return new Promise((done) => {
    execFile(
      command,
      [...args],
      {
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
        timeout: (options.seconds ?? 60) * 1000,
        killSignal: 'SIGKILL',
        maxBuffer: 2 ** 26,
      },
      (error, stdout, stderr) =>
        done({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr }),
    );
  });
}

/** The code blocks of one language in a Markdown file, in order. */
export async function codeBlocks(path: string, language: string): Promise<string[]> {
  const text = await readFile(path, 'utf8');
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    (match) => match[1] as string,
  );
}

/** Lowers TypeScript to what Node 20 runs (types off, `using` lowered) and runs it in `folder`, whose node_modules it then uses. */
export async function runTypeScript(source: string, folder: string, name: string): Promise<Outcome> {
  const { code } = await transform(source, { loader: 'ts', format: 'esm', target: 'node20' });
  const file = join(folder, `${name}.mjs`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, code);
  return run(process.execPath, [file], { cwd: folder });
}

/** What a program says that it prints: the text behind each `// prints: `. */
export const promisedOutput = (source: string): string[] =>
  [...source.matchAll(/\/\/ prints: (.*)$/gm)].map((match) => (match[1] as string).trim());
