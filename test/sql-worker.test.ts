import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, constants, mkdirSync, openSync, readFileSync, readdirSync, writeFileSync, writeSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { runHere } from '../api/sql-answer.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import { confinementOf } from '../api/sql-worker/spawn.ts';
import { SealedReader } from '../ingest/sealed-reader.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import type { UserSql } from '../queries/sql-gate.ts';
import { packageRoot } from '../schema/package-root.ts';
import { smallDisk } from './support/disks.ts';
import { makeBatch } from './support/make-batch.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { SQL_ATTACKS, fillAttack } from './support/sql-attacks.ts';
import { keptFolder } from './support/temporary-folder.ts';

const LIMITS = { timeout_ms: 30_000, max_rows: 5_000_000, at_once: 3 };
const [SCHED_OTHER, SCHED_IDLE] = ['0', '5'];
const ENDLESS = 'SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = -1';

const { folder, remove } = keptFolder();
const data = join(folder, 'data');
const logged: string[] = [];
let warehouse: Warehouse;
let pool: SqlPool;

beforeAll(async () => {
  mkdirSync(data);
  process.env['TRACEHOUSE_CANARY'] = 'canary-7315';
  ({ warehouse } = await shopWarehouse(data));
  pool = new SqlPool(warehouse, { limits: LIMITS, memory_bytes: 256e6, temp_bytes: 50e6, log: (line) => logged.push(line) });
});

afterAll(async () => {
  await pool.close();
  await warehouse.close();
  remove();
});

/** Pids of the processes that read this folder. */
function workers(): number[] {
  const said = (pid: string): string => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    } catch {
      return '';
    }
  };
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && said(name).includes('sql-worker/worker.js') && said(name).includes(data)).map(Number);
}

async function ask(sql: string, more: Partial<UserSql> = {}): Promise<unknown[][]> {
  const { parts } = await pool.run({ sql, ...more }, 'json');
  let text = '';
  for await (const part of parts) text += Buffer.from(part).toString();
  return (JSON.parse(text) as { rows: unknown[][] }).rows;
}

const event = (n: number): Record<string, bigint | number | string | boolean> => ({ ts_ns: NOW_NS + BigInt(n), mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, stream_offset: n, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false });

describe('sees what the warehouse has', () => {
  async function fingerprints(query: (sql: string) => Promise<unknown[][]>): Promise<Map<string, string[]>> {
    const found = new Map<string, string[]>();
    const views = (await query('SHOW TABLES')).flat() as string[];
    for (const view of views.toSorted()) found.set(view, ((await query(`SELECT count(*), bit_xor(hash(r)), sum(hash(r)) FROM "${view}" r`))[0] as unknown[]).map(String));
    return found;
  }
  const theirs = () => fingerprints(ask);
  const ours = () => fingerprints(async (sql) => (await warehouse.query(sql)).rows);

  test('what is not sealed, what is, what is rewritten, and what lies in exported files', async () => {
    const first = await theirs();
    expect(first.get('spans')?.[0]).toBe('78');
    expect(first).toEqual(await ours());

    await warehouse.apply(makeBatch({ sequence: 2n }, { socket_events: [event(1), event(2)] }));
    await expect.poll(() => theirs()).toEqual(await ours());
    expect((await theirs()).get('socket_events')).not.toEqual(first.get('socket_events'));

    await warehouse.seal();
    expect(await theirs()).toEqual(await ours());
    await warehouse.apply(makeBatch({ sequence: 3n }, { socket_events: [event(3)] }));
    await warehouse.seal();
    await warehouse.compact();
    await expect.poll(() => theirs()).toEqual(await ours());

    const exporter = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
    const { export_id } = await exporter.add({ destination: join(folder, 'parquet') });
    await exporter.run(export_id);
    const kept = await ours();
    await warehouse.drop((sealed) => sealed, () => 'age');
    await expect.poll(async () => (await theirs()).get('dropped_segments')?.[0]).not.toBe('0');
    const after = await theirs();
    expect(after).toEqual(await ours());
    for (const view of ['spans', 'socket_events', 'traces', 'processes']) expect(after.get(view), view).toEqual(kept.get(view));
    expect(Number(after.get('export_files')?.[0])).toBeGreaterThan(0);
    await exporter.close();
  }, 30_000);

  test('files that are gone by the time it is told of them are asked for again', async () => {
    const stale = await warehouse.visibleFiles(null);
    const sealed = { kind: 'raw' as const, id: 'gone', path: join(data, 'raw', 'gone.duckdb'), tables: ['socket_events'], from_ns: '0' };
    const visible = warehouse.visibleFiles.bind(warehouse);
    let told = 0;
    warehouse.visibleFiles = async (age) => (++told === 1 ? { ...stale, segments: [...stale.segments, sealed] } : visible(age));
    try {
      expect(await ask('SELECT 1')).toEqual([[1]]);
      expect(told).toBeGreaterThan(1);
    } finally {
      warehouse.visibleFiles = visible;
    }
  });
});

test('one process after another is not needed: the same one answers again', async () => {
  const stayed = async (): Promise<boolean> => {
    await ask('SELECT 1');
    const before = workers();
    for (let n = 0; n < 5; n++) await ask('SELECT 1');
    return before.length > 0 && workers().join() === before.join();
  };
  // On a machine that is busy otherwise a process was let forward, and is not used again for that reason.
  let same = false;
  for (let attempt = 0; attempt < 5 && !same; attempt++) same = await stayed();
  expect(same).toBe(true);
});

test('nor after a million rows: what they took is given back before the next statement', async () => {
  const residentBytes = (pid: number): number => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096;
  const stayed = async (): Promise<number> => {
    await ask('SELECT 1');
    const before = workers();
    for (const format of ['arrow', 'csv'] as const) {
      const { parts } = await pool.run({ sql: "SELECT range AS n, 'a text of more than twelve bytes: ' || range AS t FROM range(1000000)", max_rows: 1_000_000 }, format);
      let bytes = 0;
      for await (const part of parts) bytes += part.length;
      expect(bytes).toBeGreaterThan(40e6);
    }
    await ask('SELECT 1');
    const after = workers().filter((pid) => before.includes(pid));
    return Math.max(0, ...after.map(residentBytes));
  };
  // On a machine that is busy otherwise a process was let forward, and is not used again for that reason.
  let bytes = 0;
  for (let attempt = 0; attempt < 5 && bytes === 0; attempt++) bytes = await stayed();
  expect(bytes).toBeGreaterThan(0);
  expect(bytes).toBeLessThan(250e6);
}, 120_000);

describe('attacks', () => {
  test('the whole list is refused, and leaves nothing', async () => {
    const wrong: string[] = [];
    for (const attack of SQL_ATTACKS) {
      const sql = fillAttack(attack.replaceAll(/\bevents\b/g, 'socket_events'), warehouse);
      const code = await ask(sql).then(() => 'answered', (error: { code?: string }) => error.code ?? String(error));
      if (!/^sql-(forbidden|syntax)$/.test(code)) wrong.push(`${code}: ${sql}`);
    }
    expect(wrong).toEqual([]);
    expect(readdirSync(data).filter((name) => name.startsWith('out'))).toEqual([]);
  }, 30_000);

  test('letters that only look like others, comments and quotes change nothing', async () => {
    const tricks = [
      'SELECT * FROM read\u200b_text(\'/etc/passwd\')', 'SELECT * FROM ｒead_text(\'/etc/passwd\')', 'SEL/**/ECT * FROM read_text(\'/etc/passwd\')', 'SELECT * FROM/**/read_text(\'/etc/passwd\')', 'SELECT * FROM "read_text"(\'/etc/passwd\')',
      'SELECT * FROM READ_TEXT(\'/etc/passwd\')', 'SELECT * FROM main.read_text(\'/etc/passwd\')', "SELECT * FROM U&\"\\0072ead_text\"('/etc/passwd')", "SELECT 1 -- \u2028; COPY spans TO '/tmp/x'\nUNION ALL FROM read_text('/etc/passwd')", "SELECT '\\'; FROM read_text('/etc/passwd') --'; SELECT 2",
      "SELECT * FROM '/etc/passwd\u0000.parquet'", "SELECT $$a$$; ATTACH 'x' AS y", '\ufeffATTACH \'x\' AS y', "SELECT getenv\u00a0('HOME')", "SELECT * FROM (FROM 'file:///etc/passwd')", "SELECT * FROM glob(chr(47) || '*')",
    ];
    for (const sql of tricks) await expect(ask(sql), sql).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(forbidden|syntax|failed)$/) });
  });

  test('what got past the gate would still find no file, no setting and nothing to write to', async () => {
    const own = join(folder, 'reader');
    mkdirSync(own);
    writeFileSync(join(folder, 'secret.csv'), 'a\n1\n');
    await warehouse.apply(makeBatch({ sequence: 4n }, { socket_events: [event(4)] }));
    await warehouse.seal();
    const reader = await SealedReader.open({ data_folders: warehouse.data_folders, folder: own, memory_bytes: 256e6, temp_bytes: 50e6, threads: 1 });
    await reader.show(await warehouse.visibleFiles(0));
    const [alias] = (await reader.query("SELECT database_name FROM duckdb_databases() WHERE database_name LIKE 's\\_%' ESCAPE '\\'")).rows[0] as [string];
    for (const sql of [
      `FROM read_csv('${folder}/secret.csv')`, "FROM read_text('/etc/passwd')", `COPY (SELECT 1) TO '${folder}/out.csv'`, "ATTACH '/tmp/x.duckdb' AS x", "FROM 'https://example.org/x.parquet'", 'INSTALL httpfs', 'LOAD httpfs',
      "SET memory_limit = '100GB'", 'SET GLOBAL enable_external_access = true', `SET GLOBAL allowed_directories = ['/']`, "SET temp_directory = '/tmp'", 'RESET lock_configuration', `DELETE FROM ${alias}.main.batches`, `CREATE TABLE ${alias}.main.x (i INT)`,
    ]) await expect(reader.query(sql), sql).rejects.toThrow(/Permission|Invalid Input|read-only|not been loaded|disabled|locked/i);
    (await reader.connect()).closeSync();
    reader.close();
  });

  test('it stands behind everything else for the processor, but not for ever', async () => {
    await ask('SELECT 1');
    const policy = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[38] ?? '';
    const before = workers();
    for (const pid of before) expect(policy(pid)).toBe(SCHED_IDLE);
    // Stopped, it gets no processor, as on a machine that is never idle.
    const running = ask('SELECT 2');
    for (const pid of before) process.kill(pid, 'SIGSTOP');
    await expect.poll(() => before.some((pid) => policy(pid) === SCHED_OTHER), { timeout: 8000 }).toBe(true);
    for (const pid of before) process.kill(pid, 'SIGCONT');
    expect(await running).toEqual([[2]]);
    await expect.poll(() => workers().some((pid) => before.includes(pid) && policy(pid) === SCHED_OTHER)).toBe(false);
  });

  test('a process that gets no processor while it starts, or while it is told of files, keeps nobody waiting', async () => {
    const policy = (pid: number): string => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[38] ?? '';
    // Those that answer and are kept, none that still starts: on a busy machine one may be let forward, and another takes its place.
    let [known, unchanged] = ['', 0];
    await expect.poll(async () => {
      await ask('SELECT 1');
      const now = workers().join();
      unchanged = now === known ? unchanged + 1 : 0;
      known = now;
      return unchanged;
    }, { timeout: 30_000, interval: 500 }).toBeGreaterThanOrEqual(4);
    const before = workers();
    for (const pid of before) process.kill(pid, 'SIGSTOP');
    // Long enough for all idle ones to be told of files, and stuck in that.
    await new Promise((resolve) => setTimeout(resolve, 6000));
    const second = ask('SELECT 3');
    // For a moment between two programs it may not be seen.
    let starting = -1;
    await expect.poll(() => (starting = workers().find((pid) => !before.includes(pid)) ?? -1)).not.toBe(-1);
    process.kill(starting, 'SIGSTOP');
    await expect.poll(() => policy(starting), { timeout: 8000 }).toBe(SCHED_OTHER);
    process.kill(starting, 'SIGCONT');
    expect(await second).toEqual([[3]]);
    for (const pid of before) process.kill(pid, 'SIGCONT');
    // Once it is there it stands behind everything else.
    await expect.poll(() => workers().every((pid) => policy(pid) === SCHED_IDLE), { timeout: 8000 }).toBe(true);
  }, 70_000);

  test('a pipe of its holds a mebibyte, as long as it runs', async ({ skip }) => {
    const pipe = join(folder, 'wide');
    expect(spawnSync('mkfifo', [pipe]).status).toBe(0);
    const confined = spawn(join(packageRoot(), '.output', 'tracehouse-confine'), ['--pipe', pipe, '--read', '/', '--', 'sh', '-c', 'echo; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const [said] = (await Promise.race([once(confined.stdout, 'data'), once(confined, 'exit')])) as [unknown];
    if (said === 125) {
      console.log('skipped: this kernel has no Landlock');
      skip();
    }
    const fd = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    expect(writeSync(fd, Buffer.alloc(2 ** 21))).toBe(2 ** 20);
    closeSync(fd);
    confined.kill();
  });

  test('what it could be made to do would find nothing else on this machine', ({ skip }) => {
    const { status } = spawnSync(join(packageRoot(), '.output', 'tracehouse-confine'), ['--read', '/', '--', 'true']);
    if (status === 125) {
      console.log('skipped: this kernel has no Landlock');
      skip();
    }
    const own = join(folder, 'confined');
    mkdirSync(own);
    const run = (program: string): string => {
      const [command = '', ...args] = [...confinementOf({ data_folders: warehouse.data_folders, folder: own }), process.execPath, '-e', program];
      const done = spawnSync(command, args, { encoding: 'utf8', cwd: own });
      return done.stdout + done.stderr.split('\n').find((line) => line.includes('Error:'));
    };
    const segment = join(data, 'raw', readdirSync(join(data, 'raw')).find((name) => name.endsWith('.duckdb')) ?? '');
    expect(run(`fs.readFileSync(${JSON.stringify(segment)}); fs.writeFileSync(${JSON.stringify(join(own, 'x'))}, ''); console.log('well')`)).toContain('well');
    for (const program of [
      "fs.readFileSync('/etc/passwd')", "fs.readdirSync('/root')", "fs.readFileSync('/proc/1/environ')", `fs.readFileSync(${JSON.stringify(join(data, 'ledger.duckdb'))})`,
      `fs.writeFileSync(${JSON.stringify(segment)}, '')`, `fs.rmSync(${JSON.stringify(segment)})`, `fs.writeFileSync(${JSON.stringify(join(data, 'raw', 'new'))}, '')`, "fs.writeFileSync('/tmp/tracehouse-was-here', '')", "child_process.execFileSync('/usr/bin/touch', ['/tmp/tracehouse-was-here'])",
    ]) expect(run(program), program).toMatch(/EACCES|EPERM|Permission denied|Command failed/);
    expect(run("net.connect(80, '127.0.0.1').on('error', (error) => { throw error; })")).toMatch(/EACCES|ENETUNREACH|ECONNREFUSED/);
  });

  test('its process has no network, no capabilities and nothing of our environment', async () => {
    await ask('SELECT 1');
    for (const pid of workers()) {
      const of = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
      expect(of('environ')).not.toContain('canary-7315');
      if (process.getuid?.() !== 0) continue;
      expect(of('status')).toMatch(/^CapEff:\t0{16}$/m);
      expect(of('status')).toMatch(/^NoNewPrivs:\t1$/m);
      expect(of('net/dev').split('\n').slice(2).map((line) => line.split(':')[0]?.trim()).filter(Boolean)).toEqual(['lo']);
    }
  });
});

describe('a large answer', () => {
  const MANY = { sql: "SELECT range AS n, 'text of row ' || range AS words, CASE WHEN range % 3 = 0 THEN repeat('x', range % 300) END AS long FROM range(200000)", max_rows: 200_000 };
  const app = () => buildApp({ warehouse, sql: pool }, { now_ns: () => NOW_NS });

  test.each(['csv', 'ndjson', 'json', 'arrow'] as const)('%s reaches a slow reader as this process would write it', async (format) => {
    const hash = async (pieces: AsyncIterable<unknown>, slow: boolean): Promise<string> => {
      const sum = createHash('sha256');
      let [count, text] = [0, ''];
      for await (const piece of pieces) {
        // Ids and times differ.
        if (format === 'json') text += Buffer.from(piece as Uint8Array).toString();
        else sum.update(piece as Uint8Array);
        if (slow && count++ % 20 === 0) await delay(5);
      }
      return format === 'json' ? sum.update(JSON.stringify((JSON.parse(text) as { rows: unknown }).rows)).digest('hex') : sum.digest('hex');
    };
    const server = app();
    try {
      await server.listen({ port: 0, host: '127.0.0.1' });
      const asked = request({ port: (server.server.address() as AddressInfo).port, path: `/api/v1/sql?format=${format}`, method: 'POST', headers: { 'content-type': 'application/json' } });
      asked.end(JSON.stringify(MANY));
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      expect(response.statusCode).toBe(200);
      expect(await hash(response, true)).toBe(await hash((await runHere(warehouse, LIMITS).run(MANY, format)).parts, false));
    } finally {
      await server.close();
    }
  }, 30_000);
});

describe('a statement that wants too much is the only one to suffer', () => {
  async function survives(): Promise<void> {
    expect(await ask('SELECT count(*) FROM spans')).toEqual([['78']]);
  }

  test('time', async () => {
    const started = performance.now();
    await expect(ask(ENDLESS, { timeout_ms: 300 })).rejects.toMatchObject({ code: 'sql-timeout' });
    await expect(ask('WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r', { timeout_ms: 300 })).rejects.toMatchObject({ code: 'sql-timeout' });
    expect(performance.now() - started).toBeLessThan(10_000);
    await survives();
  });

  test('time, where DuckDB cannot be interrupted', async () => {
    const before = new Set(workers());
    const one_call = "SELECT length(list_aggregate(list_sort(list_transform(range(3000000), x -> md5(x::VARCHAR))), 'string_agg', ''))";
    const code = await ask(one_call, { timeout_ms: 50 }).then(() => 'answered', (error: { code: string }) => error.code);
    expect(['sql-timeout', 'sql-memory']).toContain(code);
    await survives();
    expect(before.size).toBeGreaterThan(0);
  });

  test('memory', async () => {
    for (const sql of ["SELECT string_agg(repeat('x', 1000000), '') FROM range(20000)", 'SELECT list(range) FROM range(1000000000)', 'SELECT list_sort(range(1000000000))', 'SELECT count(*) FROM (SELECT DISTINCT hash(range), md5(range::VARCHAR) FROM range(200000000))']) {
      await expect(ask(sql, { timeout_ms: 20_000 }), sql).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(memory|died)$/) });
    }
    await survives();
  }, 60_000);

  test('disk', async () => {
    await expect(ask('SELECT md5(range::VARCHAR) FROM range(20000000) ORDER BY 1', { timeout_ms: 25_000 })).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(memory|died)$/) });
    await expect(pool.run({ sql: 'SELECT md5(range::VARCHAR), md5(range::VARCHAR || 1) FROM range(5000000)', max_rows: 5_000_000, timeout_ms: 25_000 }, 'parquet')).rejects.toMatchObject({ code: expect.stringMatching(/^sql-(memory|died)$/) });
    await survives();
    await expect.poll(() => readdirSync(join(data, 'tmp'), { recursive: true, encoding: 'utf8' }).filter((name) => /\.(tmp|block|parquet)$/.test(name))).toEqual([]);
  }, 60_000);

  test('a caller that goes away takes its process along, and the place is free again', async () => {
    const before = new Set(workers());
    const gone = new AbortController();
    const running = ask(ENDLESS, { signal: gone.signal });
    await new Promise((resolve) => setTimeout(resolve, 100));
    gone.abort();
    await expect(running).rejects.toMatchObject({ code: 'sql-cancelled' });
    await expect.poll(() => workers().filter((pid) => before.has(pid)).length).toBeLessThan(Math.max(1, before.size));
    await expect(ask('SELECT 1', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'sql-cancelled' });
    await survives();
  });

  test('an answer that is left half read gives its place back', async () => {
    for (let n = 0; n < LIMITS.at_once + 1; n++) {
      const { parts } = await pool.run({ sql: 'FROM range(3000000)', max_rows: 3_000_000 }, 'csv');
      await parts.next();
      await parts.return();
    }
    await survives();
  });

  test('only so many run at once', async () => {
    const gone = new AbortController();
    const running = Array.from({ length: LIMITS.at_once }, () => ask(ENDLESS, { signal: gone.signal }).catch((error: { code: string }) => error.code));
    await expect.poll(() => workers().length).toBeGreaterThanOrEqual(LIMITS.at_once);
    await expect(ask('SELECT 1')).rejects.toMatchObject({ code: 'sql-busy' });
    gone.abort();
    expect(await Promise.all(running)).toEqual(Array.from({ length: LIMITS.at_once }, () => 'sql-cancelled'));
    await survives();
  });

  test('a process that is killed from outside is told as such, and replaced', async () => {
    const running = ask(ENDLESS).catch((error: { code: string }) => error.code);
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (const pid of workers()) process.kill(pid, 'SIGKILL');
    expect(await running).toBe('sql-died');
    await survives();
    // Nor did one come any further that was still starting.
    expect(logged.splice(0).filter((line) => !line.includes('did not start'))).toEqual([]);
  });
});

test('what a process had on disk and cannot be removed is told, and nothing ends', async (context) => {
  await ask('SELECT 1');
  const folders = readdirSync(join(data, 'tmp')).filter((name) => /^sql-\w{6}$/.test(name)).flatMap((name) => readdirSync(join(data, 'tmp', name)).map((own) => join(data, 'tmp', name, own)));
  expect(folders).not.toEqual([]);
  for (const own of folders) {
    mkdirSync(join(own, 'held'));
    const disk = smallDisk(1, join(own, 'held'));
    if (typeof disk === 'string') return context.skip(disk);
  }
  for (const pid of workers()) process.kill(pid, 'SIGKILL');
  expect(await ask('SELECT 1')).toEqual([[1]]);
  await expect.poll(() => logged).toContainEqual(expect.stringMatching(/what a process for SQL had on disk stays: EBUSY/));
  logged.length = 0;
});

test('a server tells its own limits and keeps to them', async () => {
  const app = buildApp({ warehouse, sql: pool }, { now_ns: () => NOW_NS });
  expect((await app.inject('/api/v1/schema')).json()).toMatchObject({ limits: { timeout_ms: { max: LIMITS.timeout_ms }, at_once: LIMITS.at_once } });
  const asked = await app.inject({ method: 'POST', url: '/api/v1/sql', payload: { sql: 'SELECT 1', timeout_ms: LIMITS.timeout_ms + 1 } });
  expect([asked.statusCode, asked.json()]).toEqual([400, expect.objectContaining({ code: 'invalid-request', detail: expect.stringContaining('timeout_ms') })]);
  await app.close();
  expect(logged).toEqual([]);
});

test('with the server its processes go, and their files', async () => {
  await ask('SELECT 1');
  await pool.close();
  expect(workers()).toEqual([]);
  expect(readdirSync(join(data, 'tmp')).filter((name) => name.startsWith('sql-'))).toEqual([]);
  await expect(ask('SELECT 1')).rejects.toMatchObject({ code: 'not-ready' });
});
