// Sets up what is missing and builds: npm packages, Debian packages, the loader, dist/. Quick when there is nothing to do.
// node scripts/setup.mjs [--test|--accuracy|--bench]   (--test: also the servers that the tests trace; --accuracy: and the runtimes that
// only `npm run accuracy` traces; --bench: and what `npm run bench` compares with)
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
process.chdir(root);

/** Debian package -> a file that tells that it is installed. */
const BUILD_PACKAGES = {
  make: '/usr/bin/make',
  gcc: '/usr/bin/gcc',
  'libc6-dev': '/usr/include/stdio.h',
  clang: '/usr/bin/clang',
  llvm: '/usr/bin/llvm-strip',
  'libbpf-dev': '/usr/include/bpf/libbpf.h',
  'libelf-dev': '/usr/include/libelf.h',
  'zlib1g-dev': '/usr/include/zlib.h',
  iproute2: '/usr/sbin/ip',
};
const DEMO_PACKAGES = {
  nginx: '/usr/sbin/nginx',
  python3: '/usr/bin/python3',
};
const TEST_PACKAGES = {
  openssl: '/usr/bin/openssl',
  ...DEMO_PACKAGES,
  bpftool: '/usr/sbin/bpftool',
  wrk: '/usr/bin/wrk',
  apache2: '/usr/sbin/apache2',
  'php-fpm': /^php-fpm[\d.]+$/,
  'php-cli': '/usr/bin/php',
  gunicorn: '/usr/bin/gunicorn',
  'python3-flask': '/usr/lib/python3/dist-packages/flask/__init__.py',
  'python3-requests': '/usr/lib/python3/dist-packages/requests/__init__.py',
  nftables: '/usr/sbin/nft',
};
/** Runtimes that only `npm run accuracy` traces. */
const ACCURACY_PACKAGES = {
  ...TEST_PACKAGES,
  'golang-go': 'go',
  'default-jdk-headless': 'javac',
  cargo: 'cargo',
  puma: '/usr/bin/puma',
  'python3-aiohttp': '/usr/lib/python3/dist-packages/aiohttp/__init__.py',
  'python3-fastapi': '/usr/lib/python3/dist-packages/fastapi/__init__.py',
  'python3-uvicorn': '/usr/lib/python3/dist-packages/uvicorn/__init__.py',
  'python3-uvloop': '/usr/lib/python3/dist-packages/uvloop/__init__.py',
  'python3-httptools': '/usr/lib/python3/dist-packages/httptools/__init__.py',
  'python3-httpx': '/usr/lib/python3/dist-packages/httpx/__init__.py',
};
/** What only `npm run bench` needs. */
const BENCH_PACKAGES = {
  ...TEST_PACKAGES,
  bpftrace: '/usr/bin/bpftrace',
};
/** npm packages that `npm run bench` compares with, apart from ours: into .cache/opentelemetry. The last ones for Node.js 20. */
const BENCH_NPM = { '@opentelemetry/api': '1.9.1', '@opentelemetry/auto-instrumentations-node': '0.81.0' };
/** Units that these packages enable on their own: we install programs, not services. */
const UNITS = ['nginx', 'apache2', 'apache-htcacheclean', 'php-fpm', 'nftables'];

function fail(line) {
  console.error(`setup: ${line}`);
  process.exit(1);
}

function run(command, args, options = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28, ...options });
  return { ok: result.status === 0, text: `${result.stdout ?? ''}${result.stderr ?? ''}`, error: result.error };
}

function lastLines(text, count = 6) {
  return text.trim().split('\n').slice(-count).join('\n  ');
}

function present(probe) {
  if (probe instanceof RegExp) return existsSync('/usr/sbin') && readdirSync('/usr/sbin').some((name) => probe.test(name));
  // A bare name: wherever PATH has it.
  if (!probe.startsWith('/')) return (process.env.PATH ?? '').split(':').some((folder) => folder !== '' && existsSync(join(folder, probe)));
  return existsSync(probe);
}

function enabledUnits() {
  const listed = run('systemctl', ['list-unit-files', '--state=enabled', '--no-legend', '--plain', '--type=service']);
  return new Set(listed.text.split('\n').map((line) => line.split(/\s+/)[0]).filter(Boolean));
}

function installDebian(wanted) {
  const missing = Object.entries(wanted).filter(([, probe]) => !present(probe)).map(([name]) => name);
  if (missing.length === 0) return;
  if (!existsSync('/usr/bin/apt-get')) fail(`missing: ${missing.join(', ')}. This is no Debian or Ubuntu: install them with your package manager, then run this again.`);
  if (process.getuid() !== 0) fail(`missing Debian packages. Run: sudo apt-get install ${missing.join(' ')}`);
  console.log(`setup: installing Debian packages ${missing.join(' ')}`);
  const before = enabledUnits();
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  // Nothing that we install may start listening.
  if (ours) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const install = () => run('apt-get', ['install', '-y', '--no-install-recommends', ...missing], { env });
    let done = install();
    if (!done.ok) {
      const update = run('apt-get', ['update'], { env });
      if (!update.ok) fail(`apt-get update failed:\n  ${lastLines(update.text)}`);
      done = install();
    }
    if (!done.ok) fail(`apt-get install ${missing.join(' ')} failed:\n  ${lastLines(done.text)}`);
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
  const fresh = [...enabledUnits()].filter((unit) => !before.has(unit) && UNITS.some((name) => unit.startsWith(name.replace('php-fpm', 'php'))));
  if (fresh.length > 0) {
    console.log(`setup: leaving ${fresh.join(' ')} disabled`);
    run('systemctl', ['disable', ...fresh]);
  }
}

/** Where bin/tracehouse looks for it; it does without, with more processor time. */
function installJemalloc() {
  const found = ['/usr/lib64', ...(existsSync('/usr/lib') ? readdirSync('/usr/lib').filter((name) => name.endsWith('-linux-gnu')).map((name) => `/usr/lib/${name}`) : [])];
  if (found.some((folder) => existsSync(`${folder}/libjemalloc.so.2`)) || process.getuid() !== 0 || !existsSync('/usr/bin/apt-get')) return;
  console.log('setup: installing Debian package libjemalloc2');
  const done = run('apt-get', ['install', '-y', '--no-install-recommends', 'libjemalloc2'], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } });
  if (!done.ok) console.log(`setup: it could not be installed, and tracehouse takes more processor time without it:\n  ${lastLines(done.text, 2)}`);
}

function newest(folder, pattern) {
  let time = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (entry.name !== 'node_modules' && entry.name !== 'dist' && entry.name !== 'test' && !entry.name.startsWith('.')) time = Math.max(time, newest(path, pattern));
    } else if (pattern.test(entry.name)) time = Math.max(time, statSync(path).mtimeMs);
  }
  return time;
}

const mtime = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

function npmPackages() {
  if (mtime('node_modules/.package-lock.json') >= mtime('package-lock.json') && existsSync('node_modules/.bin/tsc')) return;
  console.log('setup: installing npm packages');
  // Not `npm ci`: it refuses a lock file that lacks another platform's optional package, which a registry mirror may not have.
  const done = run('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']);
  if (!done.ok) fail(`npm install failed:\n  ${lastLines(done.text)}`);
}

function benchNpmPackages() {
  const folder = '.cache/opentelemetry';
  const wanted = `${JSON.stringify({ private: true, dependencies: BENCH_NPM }, null, 2)}\n`;
  const installed = `${folder}/node_modules/.package-lock.json`;
  if (existsSync(installed) && readFileSync(`${folder}/package.json`, 'utf8') === wanted) return;
  console.log(`setup: installing ${Object.keys(BENCH_NPM).at(-1)} from npm`);
  mkdirSync(folder, { recursive: true });
  rmSync(installed, { force: true });
  writeFileSync(`${folder}/package.json`, wanted);
  const done = run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
  if (!done.ok) fail(`npm install of ${Object.keys(BENCH_NPM).join(' ')} failed:\n  ${lastLines(done.text)}`);
}

function build() {
  if (mtime('dist/.built') < Math.max(newest('.', /\.ts$/), mtime('package-lock.json'), mtime('tsconfig.json'))) {
    console.log('setup: compiling TypeScript');
    const done = run('node_modules/.bin/tsc', ['-p', '.']);
    if (!done.ok) fail(`the TypeScript build failed:\n  ${lastLines(done.text, 30)}`);
    writeFileSync('dist/.built', '');
  }
  if (process.platform !== 'linux') return;
  if (mtime('.output/.built') < newest('bpf', /\.(c|h)$|^Makefile$/)) {
    console.log('setup: building the eBPF programs, their loader, and the confinement of SQL');
    mkdirSync('.output', { recursive: true });
    const done = run('make', ['-C', 'bpf']);
    if (!done.ok) fail(`the eBPF build failed:\n  ${lastLines(done.text, 30)}`);
    writeFileSync('.output/.built', '');
  }
}

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 10)) fail(`Node.js ${process.versions.node} is too old: 20.10 or later is needed (https://nodejs.org)`);
try {
  accessSync(root, constants.W_OK);
} catch {
  fail(`${root} is not writable by this user`);
}
const for_accuracy = process.argv.includes('--accuracy');
const for_bench = process.argv.includes('--bench');
const for_test = for_accuracy || for_bench || process.argv.includes('--test');
npmPackages();
if (for_bench) benchNpmPackages();
if (process.platform === 'linux') {
  const wanted = { ...BUILD_PACKAGES, ...(for_accuracy ? ACCURACY_PACKAGES : for_bench ? BENCH_PACKAGES : for_test ? TEST_PACKAGES : DEMO_PACKAGES) };
  // Without root the recording that ships with the package can still be replayed.
  if (process.getuid() === 0 || for_test) installDebian(wanted);
  else {
    const missing = Object.entries(wanted).filter(([, probe]) => !present(probe)).map(([name]) => name);
    if (missing.length > 0) console.log(`setup: not root, so nothing was installed; for live traces: sudo apt-get install ${missing.join(' ')}`);
  }
}
if (process.platform === 'linux') installJemalloc();
if (process.platform !== 'linux' || present(BUILD_PACKAGES.clang)) build();
else if (existsSync('node_modules/.bin/tsc')) {
  const done = run('node_modules/.bin/tsc', ['-p', '.']);
  if (!done.ok) fail(`the TypeScript build failed:\n  ${lastLines(done.text, 30)}`);
}
if (process.argv.includes('--verbose')) console.log(readFileSync('package.json', 'utf8').match(/"version": "[^"]+"/)[0]);
