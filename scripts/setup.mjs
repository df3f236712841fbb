// Makes a checkout ready on a machine that has only Node and npm. Plain JavaScript: it runs before anything is installed.
//   node scripts/setup.mjs [--build] [--tests]
// --build builds all packages; --tests also installs what only the tests need (a compiler, in CI).
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = new Set(process.argv.slice(2));
const say = (text) => process.stderr.write(`setup: ${text}\n`);

const env = {
  ...process.env,
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  PATH: `${join(root, 'node_modules', '.bin')}${delimiter}${process.env.PATH}`,
};
// npm hands its own settings to scripts as variables; pnpm warns about each that it does not know.
for (const name of Object.keys(env)) if (/^npm_config_(?!registry$|nodedir$|cache$)/i.test(name)) delete env[name];

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2], ...options });
  if (result.error) throw new Error(`cannot run ${command}: ${result.error.message}`);
  return result;
}

function must(command, args) {
  const { status } = run(command, args);
  if (status !== 0) {
    say(`failed (exit ${status}): ${command} ${args.join(' ')}`);
    process.exit(status ?? 1);
  }
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    say(`Node ${process.versions.node} is too old: 20.19 or later is needed.`);
    process.exit(1);
  }
}

/** Whether node_modules is as the lockfile says. */
function installed() {
  const marker = join(root, 'node_modules', '.modules.yaml');
  if (!existsSync(marker)) return false;
  const age = statSync(marker).mtimeMs;
  return ['pnpm-lock.yaml', 'package.json', 'pnpm-workspace.yaml'].every(
    (name) => statSync(join(root, name)).mtimeMs <= age,
  );
}

function install() {
  if (installed()) return;
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const version = packageManager.split('@')[1];
  // Not through `run`: that pnpm is missing is no error, and node_modules, which could hold it, is not there yet.
  const found = spawnSync('pnpm', ['--version'], { cwd: '/', env, shell: process.platform === 'win32' });
  const args = ['install', '--frozen-lockfile'];
  say(`installing the dependencies with pnpm ${version} ...`);
  if (found.status === 0 && String(found.stdout).trim() === version) must('pnpm', args);
  else must(process.platform === 'win32' ? 'npx.cmd' : 'npx', ['--yes', `pnpm@${version}`, ...args]);
}

const has = (command) => run('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' }).status === 0;

/** In CI, as root, a missing compiler is installed; elsewhere the build says what it leaves out. */
function installCompiler() {
  if (process.env.CI !== 'true' || process.platform !== 'linux' || process.getuid?.() !== 0) return;
  const missing = [
    has('g++') || has('c++') ? '' : 'g++',
    has('make') ? '' : 'make',
    has('python3') ? '' : 'python3',
  ].filter(Boolean);
  if (missing.length === 0) return;
  say(`installing ${missing.join(', ')} ...`);
  must('apt-get', ['-qq', 'update']);
  must('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', ...missing]);
}

checkNode();
if (wanted.has('--tests')) installCompiler();
install();
if (wanted.has('--build')) {
  must(process.execPath, [
    join(root, 'node_modules', 'turbo', 'bin', 'turbo'),
    'run',
    'build',
    '--output-logs=errors-only',
    '--log-order=grouped',
  ]);
  // The build says so too, where nobody sees it.
  if (!existsSync(join(root, 'packages/vfio-core/prebuilds', `${process.platform}-${process.arch}`, 'vfio-core.node')))
    say(
      'the native addon was not built: that needs Linux, a C++ compiler, make and Python. Everything else is built; ' +
        'the simulation works, and tests of the Linux backend are skipped.',
    );
}
