// CI: the README's test command, the API docs, the lab suites, then conformance. Counts over all; a skipped lab suite is a failure here.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const counts = { passed: 0, failed: 0, skipped: 0 };
// `faults` takes about seven minutes on two processors; with other work there, eleven.
const suites = [
  ...['uapi', 'boot', 'selfcheck', 'programs', 'edu', 'nvme', 'disk', 'kill', 'refusals', 'tools', 'spaces'],
  'faults',
];

/** Runs a command, passes its output on, and gives back its exit code and last line. */
function run(title, command, args, minutes) {
  const started = Date.now();
  process.stdout.write(`\n===== ${title}\n`);
  return new Promise((done) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...process.env, CI: 'true' },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    const timer = setTimeout(() => {
      process.stdout.write(`${title}: not finished after ${minutes} minutes\n`);
      process.kill(-child.pid, 'SIGKILL');
    }, minutes * 60_000);
    let tail = '';
    child.stdout.on('data', (data) => {
      process.stdout.write(data);
      tail = (tail + data).slice(-1_000_000);
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      process.stdout.write(`===== ${title}: exit ${code}, ${Math.round((Date.now() - started) / 1000)} s\n`);
      done({ code, last: tail.trimEnd().split('\n').at(-1) ?? '' });
    });
  });
}

function add({ passed, failed, skipped }) {
  counts.passed += passed;
  counts.failed += failed;
  counts.skipped += skipped;
}

const tests = await run('npm test', 'npm', ['test'], 25);
const line = /(\d+) passed, (\d+) failed, (\d+) skipped/.exec(tests.last);
if (line) add({ passed: Number(line[1]), failed: Number(line[2]), skipped: Number(line[3]) });
if (!line || (tests.code !== 0 && line[2] === '0')) counts.failed++;

const docs = await run('npm run docs', 'npm', ['run', 'docs'], 5);
add({ passed: docs.code === 0 ? 1 : 0, failed: docs.code === 0 ? 0 : 1, skipped: 0 });

for (const suite of suites) {
  const lab = await run(`npm run lab -- ${suite}`, 'npm', ['run', '--silent', 'lab', '--', suite, '--json'], 20);
  try {
    const result = JSON.parse(lab.last);
    add(result);
    if (lab.code !== 0 && result.failed === 0) counts.failed++;
  } catch {
    counts.failed++;
  }
}

// Each item counts once: passed as the report explains it (agrees, or differs with a reason), or failed.
const conformance = await run('npm run conformance', 'npm', ['run', '--silent', 'conformance', '--', '--json'], 40);
try {
  const { items, failed } = JSON.parse(conformance.last).total;
  add({ passed: items - failed, failed, skipped: 0 });
  // An unexpected kernel message, for example.
  if (conformance.code !== 0 && failed === 0) counts.failed++;
} catch {
  counts.failed++;
}

process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;
