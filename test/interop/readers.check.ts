// Exported files are opened by the readers that people have, newest versions from PyPI: npm run test:interop.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExportScheduler } from '../../queries/export/scheduler.ts';
import { makeBatch } from '../support/make-batch.ts';
import { NOW_NS, shopWarehouse } from '../support/shop-warehouse.ts';

const folder = mkdtempSync(join(tmpdir(), 'tracehouse-interop-'));
const python = join(process.env['INTEROP_VENV'] ?? join(folder, 'venv'), 'bin', 'python');
let expected: { facts: Record<string, string[]> };

/** As each names the types that were meant. */
const TYPES: Record<string, readonly string[]> = {
  pyarrow: ['timestamp[us, tz=UTC]', 'int64', 'int64', 'string', 'string', 'int32', 'bool', 'double'],
  duckdb: ['TIMESTAMP WITH TIME ZONE', 'BIGINT', 'BIGINT', 'VARCHAR', 'VARCHAR', 'INTEGER', 'BOOLEAN', 'DOUBLE'],
  chdb: ["DateTime64(6, 'UTC')", 'Int64', 'Int64', 'String', 'String', 'Int32', 'Bool', 'Float64'],
  pyspark: ['timestamp', 'bigint', 'bigint', 'string', 'string', 'int', 'boolean', 'double'],
};

const MEND = 'apt-get install python3-venv openjdk-17-jre-headless';

/** Before anything else: what it cannot install itself. */
function requirePrograms(): void {
  for (const [command, ...args] of [['python3', '-c', 'import venv, ensurepip'], ['java', '-version']] as const) {
    if (spawnSync(command, args, { stdio: 'ignore' }).status !== 0) throw new Error(`${[command, ...args].join(' ')} fails: the readers need Python 3 with venv, and Java 17 or later (on Debian: ${MEND})`);
  }
}

beforeAll(async () => {
  requirePrograms();
  const { warehouse } = await shopWarehouse(join(folder, 'data'));
  const event = { mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false };
  const socket_events = [
    { ...event, ts_ns: NOW_NS + 123_456_789n, stream_offset: 1, payload: Uint8Array.of(0, 255, 128, 10), remote_ip: '2001:db8::1', process_id: 9_223_372_036_854_775_807n },
    { ...event, ts_ns: NOW_NS + 3_600_000_000_001n, stream_offset: 2, remote_ip: '::ffff:10.0.0.1' },
  ];
  await warehouse.apply(makeBatch({ sequence: 2n, node: 'node 2/é', run_id: 8n }, { socket_events }));
  const scheduler = new ExportScheduler(warehouse);
  await scheduler.run((await scheduler.add({ destination: join(folder, 'parquet') })).export_id);
  const ask = async (sql: string): Promise<string[]> => ((await warehouse.query(sql)).rows[0] ?? []).map(String);
  expected = {
    facts: {
      spans: await ask(`SELECT count(*), sum(start_ns % 1000000007)::BIGINT, count(DISTINCT trace_id), max(span_id), min(local_ip), count(*) FILTER (complete), count(DISTINCT node), min(start_ns), count(*), count(*) FROM stored.spans`),
      socket_events: await ask(`SELECT count(*), max(process_id), count(*), max(hex(payload)), count(remote_ip), max(node) FROM stored.socket_events`),
    },
  };
  await warehouse.close();
  if (process.env['INTEROP_VENV'] === undefined) {
    execFileSync('python3', ['-m', 'venv', join(folder, 'venv')]);
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...Object.keys(TYPES)], { stdio: ['ignore', 'inherit', 'inherit'] });
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test.each(Object.entries(TYPES))('%s reads the same rows, with the types that were meant', (reader, types) => {
  const out = execFileSync(python, [join('test', 'interop', 'read.py'), reader, join(folder, 'parquet')], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const answer = JSON.parse(/^RESULT (.*)$/m.exec(out)?.[1] ?? 'null') as { facts: Record<string, string[]>; types: Record<string, string> };
  expect(answer.facts).toEqual(expected.facts);
  expect(Object.values(answer.types).map((type) => type.replace(/^Nullable\((.*)\)$/, '$1'))).toEqual(types);
});
