// Builds the native addon of this package into prebuilds/, with what the machine has: node-gyp needs a C++ compiler, make
// and Python. Without them nothing is built, which is said and is no failure, unless CI or VFIO_REQUIRE_ADDON asks for it.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const native = dirname(fileURLToPath(import.meta.url));
const platform = `${process.platform}-${process.arch}`;
const addon = join(native, '..', 'prebuilds', platform, 'vfio-core.node');
const stamp = join(native, 'build', 'stamp');
const newestGlibc = [2, 28];

const on = (value) => value !== undefined && value !== '' && value !== '0' && value !== 'false';
const required = on(process.env.CI) || on(process.env.VFIO_REQUIRE_ADDON);
const works = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;

/** Ends without an addon: a failure only where one is asked for. */
function without(why) {
  console.log(`vfio-core: the native addon was not built: ${why}.`);
  console.log('vfio-core: everything else works; tests of the Linux backend will be skipped.');
  if (required) console.log('vfio-core: CI or VFIO_REQUIRE_ADDON is set, so this is a failure.');
  process.exit(required ? 1 : 0);
}

function fail(why) {
  console.error(`vfio-core: the native addon is not fit to be shipped: ${why}.`);
  process.exit(1);
}

/** Of all that goes into the addon, and of the addon itself. */
function fingerprint() {
  const hash = createHash('sha256');
  const sources = readdirSync(native).filter((name) => /\.(cc|h|gyp|map|mjs)$/.test(name));
  for (const name of sources.sort()) hash.update(`${name}\0`).update(readFileSync(join(native, name)));
  if (existsSync(addon)) hash.update(readFileSync(addon));
  return hash.digest('hex');
}

/** The headers of the Node that runs this, where they lie beside it: then node-gyp downloads nothing. */
function nodeDirectory() {
  const given = process.env.npm_config_nodedir;
  const prefix = join(dirname(process.execPath), '..');
  const found = [given, prefix].find((at) => at && existsSync(join(at, 'include', 'node', 'node_api.h')));
  return found ? [`--nodedir=${found}`] : [];
}

/** That it runs on more than this machine: nothing of a C++ runtime, and no libc newer than Node itself asks for. */
function verify(file) {
  const read = spawnSync('readelf', ['--wide', '--dyn-syms', '--version-info', file], { encoding: 'utf8' });
  if (read.error || read.status !== 0) {
    console.log('vfio-core: there is no readelf here, so what the addon links against was not checked.');
    return;
  }
  const mangled = read.stdout.split('\n').filter((line) => / UND +_Z/.test(line));
  if (mangled.length > 0) fail(`it needs symbols of a C++ runtime:\n${mangled.join('\n')}`);
  const versions = [...read.stdout.matchAll(/GLIBC_(\d+)\.(\d+)/g)].map(([, major, minor]) => [+major, +minor]);
  const newer = versions.filter(([major, minor]) => major > newestGlibc[0] || minor > newestGlibc[1]);
  if (newer.length > 0) fail(`it needs GLIBC ${newer[0].join('.')}, newer than ${newestGlibc.join('.')}`);
  if (versions.length === 0) fail('its symbols of libc have no versions');
}

if (process.platform !== 'linux') without(`it is for Linux, and this is ${process.platform}`);
if (process.arch !== 'x64' && process.arch !== 'arm64') without(`${process.arch} is not supported`);
if (existsSync(addon) && existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint()) process.exit(0);

const compilers = process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['g++', 'c++', 'clang++'];
const compiler = compilers.find(works);
if (!compiler) without(`there is no C++ compiler (looked for ${compilers.join(', ')})`);
if (!works('make')) without('there is no make');
if (![process.env.PYTHON, 'python3', 'python'].some((name) => name && works(name))) without('there is no Python');

let gyp;
try {
  gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
} catch {
  without('node-gyp is not installed');
}

const built = spawnSync(process.execPath, [gyp, 'rebuild', '-C', native, ...nodeDirectory()], {
  encoding: 'utf8',
  env: { ...process.env, CXX: process.env.CXX ?? compiler },
});
if (built.status !== 0) {
  console.error(built.stdout, built.stderr);
  without('the compiler failed, see above');
}
const fresh = join(native, 'build', 'Release', 'vfio-core.node');
verify(fresh);
mkdirSync(dirname(addon), { recursive: true });
// Renamed into place: a process that has the old one mapped keeps it.
copyFileSync(fresh, `${addon}.new`);
renameSync(`${addon}.new`, addon);
writeFileSync(stamp, fingerprint());
console.log(`vfio-core: built the native addon for ${platform}.`);
