import { setTimeout } from 'node:timers/promises';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { openDatabase } from '../api/database.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import type { WarehouseOptions } from '../ingest/warehouse.ts';
import { RELATIONS } from '../schema/relations.ts';
import { makeBatch } from './support/make-batch.ts';
import type { Row } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const open = (folder: string, options: Partial<WarehouseOptions> = {}): Promise<Warehouse> => Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 20, ...options });

async function withWarehouse<T>(fn: (warehouse: Warehouse, folder: string) => Promise<T>, options: Partial<WarehouseOptions> = {}): Promise<T> {
  const folder = temporaryFolder();
  const warehouse = await open(folder, options);
  try {
    return await fn(warehouse, folder);
  } finally {
    await warehouse.close();
  }
}

const event = (ts_ns: bigint, more: Row = {}): Row => ({ ts_ns, mono_ns: ts_ns, socket_id: 7n, op: 'read', bytes: 10, stream_offset: 0, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false, ...more });

test('every value of every column type comes back as it went in', async () => {
  // Strings around the 12 bytes that DuckDB keeps in place; more rows than a chunk holds, nulls across its border.
  const texts = ['', 'a', 'twelve bytes', 'thirteen byte', 'grün und blau', '数据库 数据库 数据库', 'x'.repeat(5000), 'nul\0inside', '192.168.100.200'];
  const rows = Array.from({ length: 5000 }, (_, i): Row => {
    const text = texts[i % texts.length] as string;
    const absent = i % 7 === 0 || i === 2047 || i === 2048;
    return event(BigInt(i) + 1_700_000_000_000_000_000n, {
      comm: absent ? null : text,
      remote_ip: text,
      pid: absent ? null : -i,
      conn_id: absent ? null : (1n << 62n) + BigInt(i),
      payload: absent ? null : new Uint8Array([...new TextEncoder().encode(text), 0xff, i & 0xff]),
      payload_truncated: i % 2 === 1,
    });
  });
  const paths = Array.from({ length: 3000 }, (_, i): Row => ({ ts_ns: i, end_ts_ns: i, mono_ns: i, socket_id: 1, direction: 'in', kind: 'request', exchange_no: -1, stream_offset: 0, end_offset: 0, head_bytes: 0, end_reason: 'length', complete: true, partial: false, path: i % 3 === 0 ? null : `${texts[i % texts.length]}/${i}` }));
  await withWarehouse(async (warehouse) => {
    await warehouse.apply(makeBatch({ node: "o'neil" }, { socket_events: rows, messages: paths }));
    const got = await warehouse.query('SELECT node, boot_id, run_id, ts_ns, comm, remote_ip, pid, conn_id, hex(payload), payload_truncated FROM stored.socket_events ORDER BY ts_ns');
    expect(got.rows).toEqual(
      rows.map((row) => [
        "o'neil", 'boot-1', 1n, row['ts_ns'], row['comm'], row['remote_ip'], row['pid'], row['conn_id'],
        row['payload'] === null ? null : Buffer.from(row['payload'] as Uint8Array).toString('hex').toUpperCase(),
        row['payload_truncated'],
      ]),
    );
    const messages = await warehouse.query('SELECT path, exchange_no, complete, apply_no FROM stored.messages ORDER BY ts_ns');
    expect(messages.rows).toEqual(paths.map((row) => [row['path'], -1n, true, 1n]));
  });
});

test('a batch is applied once, also after a restart', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  const first = makeBatch({ sequence: 1n }, { socket_events: [event(1n)] });
  const third = makeBatch({ sequence: 3n }, { socket_events: [event(3n)] });
  expect(await warehouse.apply(first)).toEqual({ status: 'applied', apply_no: 1n });
  expect(await warehouse.apply(third)).toEqual({ status: 'applied', apply_no: 2n });
  expect((await warehouse.apply(first)).status).toBe('duplicate');
  await warehouse.close();
  warehouse = await open(folder);
  expect((await warehouse.apply(third)).status).toBe('duplicate');
  expect(await warehouse.apply(makeBatch({ sequence: 2n }, { socket_events: [event(2n)] }))).toEqual({ status: 'applied', apply_no: 3n });
  expect(await warehouse.apply(makeBatch({ sequence: 1n, boot_id: 'boot-2' }))).toEqual({ status: 'applied', apply_no: 4n });
  expect((await warehouse.query('SELECT ts_ns FROM stored.socket_events ORDER BY ts_ns')).rows).toEqual([[1n], [2n], [3n]]);
  await warehouse.close();
});

test('many batches at once, large and small: in the order asked for, each whole, and sealing between them', async () => {
  await withWarehouse(async (warehouse) => {
    const rowsOf = (sequence: number): number => (sequence % 2 === 0 ? 1 : 9000);
    const sealed: Promise<void>[] = [];
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, i) => {
        const applied = warehouse.apply(makeBatch({ sequence: BigInt(i + 1) }, { socket_events: Array.from({ length: rowsOf(i + 1) }, (_row, at) => event(BigInt(i + 1), { stream_offset: at })) }));
        // A batch's number is told only when every lower one can be read.
        const seen = applied.then(async ({ apply_no }) => {
          const { rows } = await warehouse.query('SELECT count(*) FROM stored.batches WHERE apply_no <= $no', { no: apply_no });
          expect(rows).toEqual([[apply_no]]);
          return apply_no;
        });
        if (i % 5 === 4) sealed.push(warehouse.seal());
        return seen;
      }),
    );
    await Promise.all(sealed);
    expect(results).toEqual(Array.from({ length: 12 }, (_, i) => BigInt(i + 1)));
    const { rows } = await warehouse.query('SELECT b.sequence, b.apply_no, b.rows, count(e.stream_offset) FROM stored.batches b JOIN stored.socket_events e ON e.ts_ns = b.sequence GROUP BY ALL ORDER BY 1');
    expect(rows).toEqual(Array.from({ length: 12 }, (_, i) => [BigInt(i + 1), BigInt(i + 1), BigInt(rowsOf(i + 1)), BigInt(rowsOf(i + 1))]));
  });
});

test('the same batch sent many times at once is applied once', async () => {
  await withWarehouse(async (warehouse) => {
    const batch = makeBatch({}, { socket_events: [event(1n)] });
    const results = await Promise.all(Array.from({ length: 8 }, () => warehouse.apply(batch)));
    expect(results.map((result) => result.status).toSorted()).toEqual(['applied', ...Array.from({ length: 7 }, () => 'duplicate')]);
  });
});

test('sealing leaves the same rows in a read-only file and goes on in a new one', async () => {
  await withWarehouse(async (warehouse) => {
    await warehouse.apply(makeBatch({ sequence: 1n }, { socket_events: [event(5n), event(9n)] }));
    await warehouse.seal();
    await warehouse.apply(makeBatch({ sequence: 2n }, { socket_events: [event(11n)] }));
    expect((await warehouse.query('SELECT ts_ns FROM stored.socket_events ORDER BY ts_ns')).rows).toEqual([[5n], [9n], [11n]]);
    const sealed = warehouse.segments.filter((segment) => segment.state === 'sealed');
    expect(sealed.map(({ kind, level, from_ns, to_ns }) => ({ kind, level, from_ns, to_ns }))).toEqual([{ kind: 'raw', level: 0, from_ns: 5n, to_ns: 9n }]);
    await expect(warehouse.query(`DELETE FROM ${(sealed[0] as { alias: string }).alias}.socket_events`)).rejects.toThrow(/read-only/);
  });
});

test('a long read sees one state while segments are sealed and their files replaced', async () => {
  await withWarehouse(async (warehouse) => {
    await warehouse.apply(makeBatch({ sequence: 1n }, { socket_events: Array.from({ length: 4000 }, (_, i) => event(BigInt(i))) }));
    const connection = await warehouse.connect();
    const stream = await connection.stream('SELECT e.ts_ns FROM stored.socket_events e, range(20)');
    let rows = (await stream.fetchChunk())?.rowCount ?? 0;
    await warehouse.seal();
    await warehouse.apply(makeBatch({ sequence: 2n }, { socket_events: [event(1n)] }));
    await setTimeout(100); // past retire_after_ms
    expect(warehouse.segments.some((segment) => segment.state === 'sealing')).toBe(false);
    for (let chunk = await stream.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await stream.fetchChunk()) rows += chunk.rowCount;
    expect(rows).toBe(80_000);
    connection.closeSync();
  });
});

test('a relation over files is read after they were replaced, however long the statement waits for its turn', async () => {
  await withWarehouse(async (warehouse) => {
    const db = openDatabase(warehouse);
    await warehouse.apply(makeBatch({ sequence: 1n }, { socket_events: [event(5n)] }));
    const relation = warehouse.storedSince('socket_events', 0n);
    let leave!: () => void;
    const left = new Promise<void>((resolve) => (leave = resolve));
    const before = Array.from({ length: 4 }, () => db.transaction().execute(() => left)); // all of its connections
    const late = sql`SELECT ts_ns FROM ${sql.raw(relation)}`.execute(db);
    await warehouse.seal();
    await setTimeout(100); // past retire_after_ms
    leave();
    expect((await late).rows).toEqual([{ ts_ns: 5n }]);
    await Promise.all(before);
    await expect.poll(() => warehouse.query(`SELECT ts_ns FROM ${relation}`).then(() => 'there', () => 'gone')).toBe('gone');
    await db.destroy();
  });
});

test('a batch that lies about its memory is refused and leaves nothing', async () => {
  await withWarehouse(async (warehouse) => {
    const good = makeBatch({}, { socket_events: [event(1n), event(2n)] });
    const bend = (column: string, data: object): ReturnType<typeof makeBatch> => {
      const table = good.tables.socket_events;
      return { ...good, tables: { ...good.tables, socket_events: { rows: table.rows, columns: { ...table.columns, [column]: { ...table.columns[column], ...data } } } } } as ReturnType<typeof makeBatch>;
    };
    const lies = [
      bend('ts_ns', { values: new BigInt64Array(1) }),
      bend('ts_ns', { validity: new Uint8Array([1]) }),
      bend('pid', { validity: new Uint8Array(0) }),
      bend('op', { indices: new Int32Array([0, 5]) }),
      bend('op', { indices: new Int32Array([-1, 0]) }),
      bend('payload', { offsets: new Int32Array([0, 10, 20]), data: new Uint8Array(5) }),
      bend('payload', { offsets: new Int32Array([0, 4, 2]), data: new Uint8Array(5) }),
      bend('payload_truncated', { values: new Uint8Array([0, 2]) }),
      bend('pid', { type: 'int64', values: new BigInt64Array(2) }),
    ];
    for (const lie of lies) await expect(warehouse.apply(lie)).rejects.toMatchObject({ code: 'batch-invalid' });
    await expect(warehouse.apply({ ...good, schema_version: 99 })).rejects.toMatchObject({ code: 'batch-version' });
    const half = makeBatch({}, { stacks: [{ stack_id: 1, frames: 'ü' }, { stack_id: 2, frames: 'ü' }] });
    const frames = half.tables.stacks.columns['frames'] as { offsets: Int32Array };
    frames.offsets[1] = 1;
    await expect(warehouse.apply(half)).rejects.toMatchObject({ code: 'batch-invalid' });
    expect((await warehouse.query('SELECT count(*) FROM stored.batches')).rows).toEqual([[0n]]);
    expect((await warehouse.apply(good)).status).toBe('applied');
  });
});

test('watermarks of runs survive a restart', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder, { now: () => 5000 });
  await warehouse.apply(makeBatch({ sequence: 1n, watermark_ns: 100n, utc_ns: 4_000_000_000n }));
  await warehouse.apply(makeBatch({ sequence: 2n, watermark_ns: 200n, utc_ns: 4_100_000_000n, final: true }));
  const state = { node: 'node-1', boot_id: 'boot-1', run_id: 1n, watermark_ns: 200n, final: true, sequence: 2n };
  expect(warehouse.runs()).toEqual([{ ...state, heard_ms: 5000 }]);
  await warehouse.close();
  warehouse = await open(folder);
  expect(warehouse.runs()).toEqual([{ ...state, heard_ms: 4100 }]);
  expect(warehouse.last_apply_no).toBe(2n);
  await warehouse.close();
});

test('one process, one warehouse: a second open of a folder says who has it', async () => {
  await withWarehouse(async (_warehouse, folder) => {
    await expect(open(folder)).rejects.toMatchObject({ code: 'warehouse-locked' });
    await expect(open(folder, { read_only: true })).rejects.toMatchObject({ code: 'warehouse-locked' });
  });
});

test('read-only: same rows, no files touched, no writing; a folder without a warehouse is said so', async () => {
  const folder = temporaryFolder();
  await expect(open(folder, { read_only: true })).rejects.toMatchObject({ code: 'warehouse-missing' });
  await expect(open(`${folder}/none`, { read_only: true })).rejects.toMatchObject({ code: 'warehouse-missing' });
  const warehouse = await open(folder);
  await warehouse.apply(makeBatch({}, { socket_events: [event(1n)] }));
  await warehouse.close();
  const reader = await open(folder, { read_only: true });
  expect((await reader.query('SELECT count(*) FROM stored.socket_events')).rows).toEqual([[1n]]);
  await expect(reader.apply(makeBatch({ sequence: 2n }))).rejects.toMatchObject({ code: 'warehouse-read-only' });
  await reader.close();
});

test('what came after a batch is read without the segments before it, and up to another without those after that', async () => {
  const folder = temporaryFolder();
  let warehouse = await open(folder);
  for (const sequence of [1n, 2n, 3n]) {
    await warehouse.apply(makeBatch({ sequence }, { socket_events: [event(sequence * 1000n)] }));
    if (sequence < 3n) await warehouse.seal();
  }
  const since = async (apply_no: bigint, to?: bigint): Promise<unknown[]> => (await warehouse.query(`SELECT ts_ns FROM ${warehouse.storedSince('socket_events', apply_no, to)} ORDER BY 1`)).rows.flat();
  const between = async (from: bigint, to: bigint): Promise<unknown[]> => (await warehouse.query(`SELECT ts_ns FROM ${warehouse.storedBetween('raw', 'socket_events', from, to)} ORDER BY 1`)).rows.flat();
  expect([await since(0n), await since(1n), await since(2n)]).toEqual([[1000n, 2000n, 3000n], [2000n, 3000n], [3000n]]);
  expect([await since(0n, 1n), await since(1n, 2n), await since(0n, 2n), await since(2n, 3n)]).toEqual([[1000n], [2000n], [1000n, 2000n], [3000n]]);
  await warehouse.close();
  warehouse = await open(folder);
  expect([await since(0n), await since(1n), await since(2n), await since(3n)]).toEqual([[1000n, 2000n, 3000n], [2000n, 3000n], [3000n], []]);
  expect([await between(1500n, 2500n), await between(0n, 999n)]).toEqual([[2000n], []]);
  await warehouse.apply(makeBatch({ sequence: 4n }, { socket_events: [event(4000n)] }));
  // The first and the third as one: it was not written after the second.
  await warehouse.withSealed((sealed, gather) => gather([0, 2].map((at) => sealed.filter(({ kind }) => kind === 'raw')[at]!)));
  expect([await since(0n, 1n), await since(1n, 2n), await since(2n, 3n)]).toEqual([[1000n, 2000n, 3000n], [1000n, 2000n, 3000n], [1000n, 3000n]]);
  await warehouse.close();
});

test('integer and bigint parameters stay BIGINT', async () => {
  await withWarehouse(async (warehouse) => {
    const { rows, columns } = await warehouse.query('SELECT typeof(?), typeof(?), typeof(?), typeof(?), ?', [1n, 2, 1.5, [1, 2], null]);
    expect(rows).toEqual([['BIGINT', 'BIGINT', 'DOUBLE', 'BIGINT[]', null]]);
    expect(columns).toHaveLength(5);
    expect((await warehouse.query('SELECT $low + 1', { low: 41n })).rows).toEqual([[42n]]);
  });
});

test('the migrations of raw segments make the relations that batches carry', async () => {
  await withWarehouse(async (warehouse) => {
    const { rows } = await warehouse.query("SELECT table_name, list(column_name || ' ' || data_type ORDER BY column_index) FROM duckdb_columns() WHERE schema_name = 'template_raw' GROUP BY table_name");
    const tables = new Map(rows.map(([name, columns]) => [name as string, (columns as { items: string[] }).items]));
    const types = { int64: 'BIGINT', int32: 'INTEGER', bool: 'BOOLEAN', text: 'VARCHAR', dict: 'VARCHAR', blob: 'BLOB' };
    for (const [name, relation] of Object.entries(RELATIONS)) {
      const origin = ['node VARCHAR', 'boot_id VARCHAR', 'run_id BIGINT', ...(name === 'messages' ? ['apply_no BIGINT'] : [])];
      expect([name, ...(tables.get(name) ?? [])]).toEqual([name, ...origin, ...relation.columns.map((column) => `${column.name} ${types[column.type]}`)]);
    }
    expect([...tables.keys()].toSorted()).toEqual([...Object.keys(RELATIONS), 'batches'].toSorted());
  });
});
