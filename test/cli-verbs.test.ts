// Verbs as they are typed: what a server allows, who files belong to, and what stays when nothing could be done.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { packageRoot } from '../schema/package-root.ts';
import { shopWarehouse } from './support/shop-warehouse.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const tracehouse = join(packageRoot(), 'bin', 'tracehouse');
const SOMEBODY = 12_345;

function run(args: readonly string[], before: readonly string[] = []): { status: number; stdout: string; stderr: string } {
  const [command, ...words] = [...before, tracehouse, ...args] as [string, ...string[]];
  try {
    return { status: 0, stdout: execFileSync(command, words, { encoding: 'utf8', stdio: 'pipe' }), stderr: '' };
  } catch (error) {
    const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string };
    return { status, stdout, stderr };
  }
}

function serve(args: readonly string[]): Promise<string> {
  const child = spawn(tracehouse, ['serve', '--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(() => new Promise((resolve) => (child.exitCode === null ? (child.once('exit', () => resolve(undefined)), child.kill('SIGTERM')) : resolve(undefined))));
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (text: Buffer) => {
      const [, url] = /^ready (\S+)/m.exec(text.toString()) ?? [];
      if (url !== undefined) resolve(url);
    });
    child.once('exit', (code) => reject(new Error(`exit ${code}`)));
  });
}

test('sql asks for no more than the server allows, and says so when it is told to', async () => {
  const url = await serve(['--data', join(temporaryFolder(), 'data'), '--sql-timeout', '2', '--sql-max-rows', '3']);
  const ask = (...args: string[]) => run(['sql', '--url', url, '--format', 'csv', ...args]);
  expect(ask('SELECT 42 AS x')).toMatchObject({ status: 0, stdout: 'x\r\n42\r\n' });
  expect(ask('FROM range(9)').stdout.split('\r\n')).toHaveLength(5);
  expect(ask('--timeout', '2', '--max-rows', '3', 'SELECT 42 AS x').status).toBe(0);
  expect(ask('--timeout', '5', 'SELECT 1')).toMatchObject({ status: 2, stderr: expect.stringMatching(/--timeout 5 is more than the 2 .*--sql-timeout/s) });
  expect(ask('--max-rows', '4', 'SELECT 1')).toMatchObject({ status: 2, stderr: expect.stringMatching(/--max-rows 4 is more than the 3 .*--sql-max-rows/s) });
  const more = await serve(['--data', join(temporaryFolder(), 'data'), '--sql-timeout', '600', '--sql-max-rows', '6000000']);
  expect(run(['sql', '--url', more, '--format', 'csv', '--timeout', '300', '--max-rows', '6000000', 'SELECT 42 AS x'])).toMatchObject({ status: 0, stdout: 'x\r\n42\r\n' });
});

async function somebodysData(): Promise<string> {
  const data = join(temporaryFolder(), 'data');
  const { warehouse } = await shopWarehouse(data);
  await warehouse.close();
  for (let folder = dirname(data); folder !== '/'; folder = dirname(folder)) chmodSync(folder, statSync(folder).mode | 0o011);
  for (const name of ['', ...(readdirSync(data, { recursive: true }) as string[])]) chownSync(join(data, name), SOMEBODY, SOMEBODY);
  return data;
}

test.for(['correlate', 'export'])('%s by root leaves the data folder to its owner, and what it writes', async (verb, context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root');
  const data = await somebodysData();
  const out = join(data, '..', 'out', 'parquet');
  const out_parent = dirname(out);
  if (verb === 'export') chmodSync(dirname(out_parent), 0o755);
  expect(run(verb === 'export' ? ['export', '--data', data, '--to', out] : ['correlate', '--data', data])).toMatchObject({ status: 0 });
  const belongings = [data, ...(verb === 'export' ? [out_parent] : [])].flatMap((folder) => ['', ...(readdirSync(folder, { recursive: true }) as string[])].map((name) => join(folder, name)));
  expect(belongings.filter((path) => statSync(path).uid !== SOMEBODY)).toEqual([]);
  if (verb === 'export') expect(belongings.some((path) => path.endsWith('.parquet'))).toBe(true);
});

test('export by root to where the owner may not write says so', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root');
  const data = await somebodysData();
  const roots = join(data, '..', 'roots');
  mkdirSync(roots, { mode: 0o755 });
  expect(run(['export', '--data', data, '--to', roots])).toMatchObject({ status: 1, stderr: expect.stringMatching(/may not write to .*roots.*chown it, or name another folder with --to/s) });
});

test('a recording that cannot be made leaves the one that is there', (context) => {
  if (process.getuid?.() !== 0) return context.skip('needs root to be somebody else');
  const folder = temporaryFolder();
  chmodSync(folder, 0o777);
  const out = join(folder, 'rec.arrow');
  writeFileSync(out, 'an earlier one');
  chownSync(out, SOMEBODY, SOMEBODY);
  const somebody = ['setpriv', '--reuid', String(SOMEBODY), '--clear-groups'];
  expect(run(['record', '--out', out], somebody)).toMatchObject({ status: 1, stderr: expect.stringContaining('needs root') });
  expect(readFileSync(out, 'utf8')).toBe('an earlier one');
  mkdirSync(join(folder, 'a-folder'));
  for (const no_file of [join(folder, 'nowhere', 'rec.arrow'), join(folder, 'a-folder')]) {
    expect(run(['record', '--out', no_file])).toMatchObject({ status: 1, stderr: expect.stringMatching(/cannot write .*--out/s) });
  }
  expect(existsSync(join(folder, 'nowhere'))).toBe(false);
});
