import { expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { FewValues, columnsOf } from '../ingest/few-values.ts';
import { Lanes } from '../ingest/lanes.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { makeBatch } from './support/make-batch.ts';
import type { Row } from './support/make-batch.ts';
import { EPOCH_NS, storeSpans, traceId } from './support/stored-spans.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const TABLES = [{ name: 'calls', columns: ['op', 'host'] }];
const values = (): FewValues => new FewValues(TABLES, { calls: { op: ['read', 'write'], host: [] }, gone: { op: ['x'] } });
const enumerated = (few: FewValues): string[] => columnsOf(few.forNewFile()).map(([, column]) => column);

test('a file enumerates what is known from the start, and columns in which nothing new came while the last one was written', () => {
  const few = values();
  expect(enumerated(few)).toEqual(['op']);
  few.note(['calls', 'host'], ['b', 'a']);
  expect(enumerated(few)).toEqual(['op']);
  few.note(['calls', 'host'], ['a']);
  few.note(['calls', 'op'], ['close']);
  const file = few.forNewFile();
  expect(columnsOf(file)).toEqual([['calls', 'host']]);
  expect([...(file.get('calls')?.get('host') ?? [])]).toEqual([['a', 0], ['b', 1]]);
  expect([...(few.forNewFile().get('calls')?.get('op') ?? [])]).toEqual([['close', 0], ['read', 1], ['write', 2]]);
});

test('a column that files had to hold as text waits for twice as many quiet ones each time', () => {
  const few = values();
  const quietFiles = (): number => {
    let files = 1;
    while (!enumerated(few).includes('host')) files += 1;
    return files;
  };
  few.note(['calls', 'host'], ['a']);
  few.forNewFile();
  expect(quietFiles()).toBe(1);
  for (const [files, host] of [[2, 'b'], [4, 'c'], [8, 'd']] as const) {
    few.noteOutgrown([['calls', 'host']]);
    few.note(['calls', 'host'], [host]);
    few.forNewFile();
    expect(quietFiles()).toBe(files);
  }
});

test('many values are text, until most of them have not come for long', () => {
  const few = values();
  few.note(['calls', 'host'], Array.from({ length: 300 }, (_, at) => `host-${at}`));
  for (let file = 0; file < 40; file += 1) expect(enumerated(few)).not.toContain('host');
  for (let file = 0; file < 128; file += 1) {
    few.note(['calls', 'host'], ['host-7']);
    few.forNewFile();
  }
  expect([...(few.forNewFile().get('calls')?.get('host')?.keys() ?? [])]).toEqual(['host-7']);
});

test('a column is text while values come that are long, or that SQL cannot write', () => {
  for (const value of ['x'.repeat(101), 'a\0b']) {
    const few = values();
    few.note(['calls', 'host'], ['a']);
    for (let file = 0; file < 5; file += 1) {
      few.note(['calls', 'host'], [value]);
      expect(enumerated(few)).toEqual(['op']);
    }
    expect([...(few.forNewFile().get('calls')?.get('host')?.keys() ?? [])]).toEqual(['a']);
  }
});

test('values are in the order of their bytes, as texts are for DuckDB', () => {
  const few = values();
  few.note(['calls', 'host'], ['\u{1f600}', '\uff21', 'b', 'B']);
  few.forNewFile();
  expect([...(few.forNewFile().get('calls')?.get('host')?.keys() ?? [])]).toEqual(['B', 'b', '\uff21', '\u{1f600}']);
});

test('a writer of which it cannot be said whether it has to be alone is refused, and no other', async () => {
  const lanes = new Lanes(2);
  const first = lanes.run(async () => 1);
  const broken = lanes.run(async () => 2, () => {
    throw new Error('no such table');
  });
  const alone = lanes.run(async () => 3, () => true);
  const last = lanes.run(async () => 4);
  await expect(broken).rejects.toThrow('no such table');
  expect(await Promise.all([first, alone, last])).toEqual([1, 3, 4]);
});

test('who has to be alone waits for those before, and those after wait for it', async () => {
  const lanes = new Lanes(2);
  const seen: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    seen.push(`${name} begins`);
    await new Promise(setImmediate);
    seen.push(`${name} ends`);
  };
  await Promise.all([lanes.run(work('a')), lanes.run(work('b'), () => true), lanes.run(work('c'))]);
  expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
});

const open = (folder: string): Promise<Warehouse> => Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 20, compaction: { small: 3, minutes: 60, hours: 72, idle_ms: 60_000 } });
const event = (ts_ns: number, more: Row = {}): Row => ({ ts_ns, mono_ns: ts_ns, socket_id: 7n, op: 'read', bytes: 10, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false, ...more });
const TOLD = 'ts_ns, node, boot_id, comm, op, local_ip, layer';
const told = async (warehouse: Warehouse, relation: string): Promise<unknown[]> => (await warehouse.query(`SELECT ${TOLD} FROM ${relation} ORDER BY ALL`)).rows.map(([ts, ...rest]) => [Number(ts), ...rest]);
/** Of the open file. */
const typesOf = async (warehouse: Warehouse, kind: 'raw' | 'derived', table: string): Promise<Record<string, string>> => {
  const { alias } = warehouse.segments.find((segment) => segment.kind === kind && segment.state === 'open') as { alias: string };
  const { rows } = await warehouse.query(`SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = '${alias}' AND table_name = '${table}' AND data_type NOT IN ('BIGINT', 'INTEGER', 'BOOLEAN', 'BLOB')`);
  return Object.fromEntries(rows as [string, string][]);
};

test('batches come back as they were, whatever their files enumerate: new texts beside others, nulls, quotes, long ones', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  const sent: unknown[] = [];
  let sequence = 0n;
  const send = (node: string, rows: Row[]): Promise<unknown> => {
    sequence += 1n;
    for (const row of rows) sent.push([Number(row['ts_ns']), node, 'boot', row['comm'] ?? null, row['op'], row['local_ip'] ?? null, row['layer']]);
    return warehouse.apply(makeBatch({ node, boot_id: 'boot', sequence }, { socket_events: rows }));
  };
  let ts = 0;
  const rows = (more: Row): Row[] => Array.from({ length: 2100 }, (_, at) => event((ts += 1), at % 3 === 0 ? more : { comm: null, op: 'write' }));
  const usual = { comm: "it's", local_ip: '2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff' };
  expect((await typesOf(warehouse, 'raw', 'socket_events'))['op']).toContain("'accept'");
  for (let file = 0; file < 4; file += 1) {
    await send('n', rows(usual));
    await warehouse.seal();
  }
  const types = await typesOf(warehouse, 'raw', 'socket_events');
  expect(types).toMatchObject({ node: "ENUM('n')", comm: expect.stringContaining("'it''s')"), local_ip: expect.stringContaining(`'${usual.local_ip}')`) });
  // Two lanes; the third and fourth batches hold what the file has no number for.
  await Promise.all([send('n', rows(usual)), send('n', rows(usual)), send('n', rows({ comm: 'new one' })), send('other', rows({ op: 'unheard of', layer: 'tls' })), send('n', rows(usual)), send('n', rows({ comm: 'newer' }))]);
  expect(await typesOf(warehouse, 'raw', 'socket_events')).toMatchObject({ node: 'VARCHAR', comm: 'VARCHAR', op: 'VARCHAR', local_ip: types['local_ip'] });
  expect((await warehouse.query('SELECT max(apply_no), count(*) FROM stored.batches')).rows).toEqual([[sequence, sequence]]);
  expect((await warehouse.query('SELECT count(*) FROM losses')).rows[0]).toEqual([1n]); // before the first batch
  // None of these can be numbered, and sealing goes on.
  for (let file = 0; file < 3; file += 1) {
    await warehouse.seal();
    await send('n', rows({ comm: 'nul\0', local_ip: 'y'.repeat(300) }));
  }
  const expected = sent.toSorted((a, b) => ((a as number[])[0] as number) - ((b as number[])[0] as number));
  const as_sent = JSON.stringify(expected);
  const same = async (): Promise<void> => {
    for (const relation of ['stored.socket_events', 'socket_events', warehouse.storedSince('socket_events', 0n), warehouse.storedBetween('raw', 'socket_events', 0n, 10n ** 18n)]) expect(JSON.stringify(await told(warehouse, relation)) === as_sent, relation).toBe(true);
    // What is public is text, whatever a file holds.
    expect((await warehouse.query("SELECT DISTINCT typeof(op), typeof(node), typeof(comm) FROM socket_events")).rows).toEqual([['VARCHAR', 'VARCHAR', 'VARCHAR']]);
    expect((await warehouse.query("SELECT count(*) FROM socket_events WHERE op = 'unheard of'")).rows).toEqual([[BigInt(sent.filter((row) => (row as unknown[])[4] === 'unheard of').length)]]);
  };
  await same();
  await warehouse.seal();
  await same();
  await warehouse.compact();
  await same();
  await warehouse.close();
  warehouse = await open(folder);
  await same();
  await warehouse.close();
});

test('a span with a text that its file has no number for is stored, and all that is written with it', async () => {
  const warehouse = await open(temporaryFolder());
  let span_id = 0;
  const store = (service: string, method: string | null): Promise<void> => warehouse.withDerived((alias, connection) => warehouse.storeDerived(connection, async () => {
    span_id += 1;
    await connection.run(`INSERT INTO ${alias}.exchanges BY NAME SELECT ${span_id} AS span_id, 'n' AS node, 'http' AS protocol`);
    await connection.run(`INSERT INTO ${alias}.spans BY NAME SELECT ${span_id} AS span_id, 'n' AS node, '${service}' AS service_name, ${method === null ? 'NULL' : `'${method}'`} AS method`);
  }));
  for (let file = 0; file < 4; file += 1) {
    await store('shop', 'GET');
    await store('shop', null);
    await warehouse.seal();
  }
  expect(await typesOf(warehouse, 'derived', 'spans')).toMatchObject({ node: "ENUM('n')", service_name: "ENUM('shop')", method: "ENUM('GET')", path: 'VARCHAR', host: 'VARCHAR' });
  await store('shop', 'GET');
  await store("baker''s", 'BREW');
  expect(await typesOf(warehouse, 'derived', 'spans')).toMatchObject({ node: 'VARCHAR', service_name: 'VARCHAR', method: 'VARCHAR' });
  expect((await warehouse.query('SELECT service_name, method, count(*) FROM stored.spans GROUP BY ALL ORDER BY ALL')).rows).toEqual([["baker's", 'BREW', 1n], ['shop', 'GET', 5n], ['shop', null, 4n]]);
  expect((await warehouse.query('SELECT count(*), count(DISTINCT span_id) FROM stored.exchanges')).rows).toEqual([[10n, 10n]]);
  // Of what came new the next files wait for longer than of what did not.
  await warehouse.seal();
  await store('shop', 'GET');
  await warehouse.seal();
  expect(await typesOf(warehouse, 'derived', 'spans')).toMatchObject({ node: "ENUM('n')", service_name: 'VARCHAR', method: 'VARCHAR' });
  // Another error than that is told.
  await expect(warehouse.withDerived((alias, connection) => warehouse.storeDerived(connection, async () => void (await connection.run(`INSERT INTO ${alias}.spans BY NAME SELECT 'x' AS span_id`))))).rejects.toThrow('Could not convert');
  expect((await warehouse.query('SELECT count(*) FROM stored.spans')).rows).toEqual([[11n]]);
  await warehouse.close();
});

test('lookups answer the same, whether the files of spans have numbers or texts', async () => {
  const answersOf = async (sealed: boolean): Promise<unknown[]> => {
    const warehouse = await open(temporaryFolder());
    for (let file = 0; file < 5; file += 1) {
      const begin = EPOCH_NS + BigInt(file) * 1_000_000_000n;
      await storeSpans(warehouse, `SELECT ${begin} + (i // 5) * 1000000 AS trace_hi, 1 AS trace_lo, ${file * 100} + i AS span_id, CASE WHEN i % 5 > 0 THEN ${file * 100} + i - 1 END AS parent_span_id, ${begin} + (i // 5) * 1000000 + i AS start_ns, ${begin} + 50000000 - i AS end_ns FROM range(25) AS r (i)`);
      if (sealed) await warehouse.seal();
    }
    const app = buildApp({ warehouse }, { now_ns: () => EPOCH_NS + 10_000_000_000n });
    const answers: unknown[] = [];
    // The last two files; those before are made while nothing is known.
    const range = `start=${new Date(Number(EPOCH_NS / 1_000_000n) + 3000).toISOString()}`;
    const read = warehouse.segments.filter(({ kind, state, from_ns }) => kind === 'derived' && state === 'sealed' && from_ns >= EPOCH_NS + 2_000_000_000n);
    for (const { alias } of read) expect((await warehouse.query(`SELECT DISTINCT typeof(service_name), typeof(end_reason), typeof(method) FROM ${alias}.main.spans`)).rows).toEqual([["ENUM('service-0', 'service-1', 'service-2')", "ENUM('length')", "ENUM('GET')"]]);
    expect(read).toHaveLength(sealed ? 2 : 0);
    for (const path of [`traces?${range}&limit=100`, `traces?${range}&service=service-1`, `traces?${range}&service=service-1&operation=GET%20%2F3`, `traces?${range}&service=nobody`, `traces?${range}&sort=-duration&error=false`, `services?${range}`, `operations?${range}`, `graph?${range}`, `traces/${traceId(EPOCH_NS + 4_000_000_000n, 1n)}`, `traces/${traceId(EPOCH_NS + 4_000_000_000n, 1n)}/evidence`]) {
      const { statusCode, body } = await app.inject(`/api/v1/${path}`);
      answers.push([path, statusCode, JSON.parse(body)]);
    }
    await app.close();
    await warehouse.close();
    return answers;
  };
  const as_text = await answersOf(false);
  expect((as_text as [string, number, unknown][]).filter(([, status]) => status === 200)).toHaveLength(10);
  expect((as_text[1] as [string, number, { traces: unknown[] }])[2].traces.length).toBeGreaterThan(5);
  expect(await answersOf(true)).toEqual(as_text);
});
