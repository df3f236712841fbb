import { run } from './index.js';

const output = {
  out: (text: string) => void process.stdout.write(`${text}\n`),
  err: (text: string) => void process.stderr.write(`${text}\n`),
};

run(process.argv.slice(2), { output }).then((code) => {
  process.exitCode = code;
});
