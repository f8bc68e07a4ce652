import { createServer } from 'node:http';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { tableFromIPC } from 'apache-arrow';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { getTrace, listQueries, listTraces, requestText, streamSql } from '../api/cli/http-client.ts';
import type { Address, SqlOutput, SqlRun } from '../api/cli/http-client.ts';
import { listenBoth } from '../api/listen.ts';
import type { Listening } from '../api/listen.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { OLD_TRACE_ID, ORDERS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let listening: Listening;
let addresses: Address[];

beforeAll(async () => {
  ({ warehouse } = await shopWarehouse(folder));
  const socket_path = join(folder, 'tracehouse.sock');
  listening = await listenBoth(() => buildApp({ warehouse }), { address: { host: '127.0.0.1', port: 0 }, socket_path });
  addresses = [{ url: listening.url }, { socket_path }];
});

afterAll(async () => {
  await listening.close();
  await warehouse.close();
  remove();
});

async function written(address: Address, sql: SqlRun['sql'], format: SqlOutput, more: object = {}): Promise<{ bytes: Buffer; notes: string[] }> {
  const out = new PassThrough();
  const pieces: Buffer[] = [];
  out.on('data', (piece: Buffer) => pieces.push(piece));
  const notes: string[] = [];
  await streamSql(address, { sql, format, out, on_note: (line) => notes.push(line), ...more });
  return { bytes: Buffer.concat(pieces), notes };
}

describe('over TCP and over the socket file alike', () => {
  test('traces, across pages', async () => {
    for (const address of addresses) {
      const { traces, searched } = await listTraces(address, { limit: 5000 });
      expect(traces).toHaveLength(ORDERS + 3);
      expect(searched.start).toMatch(/^2026-/);
      expect((await listTraces(address, { limit: 3, service: 'stock', error: true })).traces).toHaveLength(1);
      expect((await listTraces(address, { limit: 3, start: 0n, end: 1n })).traces).toEqual([]);
    }
  });

  test('one trace, and what is wrong in words', async () => {
    for (const address of addresses) {
      expect((await getTrace(address, OLD_TRACE_ID)).spans).toHaveLength(3);
      await expect(getTrace(address, '0'.repeat(32))).rejects.toMatchObject({ code: 'trace-not-found', mend: expect.any(String), exit_code: 1 });
      await expect(async () => getTrace(address, 'abc')).rejects.toMatchObject({ code: 'trace-id', exit_code: 2 });
    }
  });

  test('SQL in each format', async () => {
    const sql = 'SELECT range AS n FROM range(3)';
    for (const address of addresses) {
      expect((await written(address, sql, 'table')).bytes.toString()).toBe('┌───┐\n│ n │\n├───┤\n│ 0 │\n│ 1 │\n│ 2 │\n└───┘\n3 rows\n');
      expect(JSON.parse((await written(address, sql, 'json')).bytes.toString())).toMatchObject({ rows: [['0'], ['1'], ['2']] });
      expect((await written(address, sql, 'ndjson')).bytes.toString()).toBe('{"n":"0"}\n{"n":"1"}\n{"n":"2"}\n');
      expect((await written(address, sql, 'csv')).bytes.toString()).toBe('n\r\n0\r\n1\r\n2\r\n');
      expect(tableFromIPC((await written(address, sql, 'arrow')).bytes).numRows).toBe(3);
      expect((await written(address, sql, 'parquet')).bytes.subarray(0, 4).toString()).toBe('PAR1');
    }
  });
});

test('a query by its name: the same rows as its statement', async () => {
  for (const address of addresses) {
    const slowest = (await listQueries(address)).find(({ name }) => name === 'slowest-operations');
    expect(slowest).toMatchObject({ source: 'cookbook', id: expect.stringMatching(/^[0-9a-f]{16}$/) });
    const { bytes, notes } = await written(address, { query: 'slowest-operations' }, 'csv', { params: { service: 'stock' }, max_rows: 5, timeout_ms: 5000 });
    expect(bytes.toString()).toMatch(/^service,operation,requests,.*\r\nstock,GET \/stock\/\{id\},25,/);
    expect(notes).toEqual([]);
    expect(JSON.parse((await written(address, { query: slowest?.id ?? '' }, 'json', { max_rows: 1 })).bytes.toString())).toMatchObject({ row_count: 1, truncated: true });
    await expect(written(address, { query: '../traces?' }, 'json')).rejects.toMatchObject({ code: 'invalid-request' });
    await expect(written(address, { query: 'nothing' }, 'json')).rejects.toMatchObject({ code: 'query-not-found', mend: expect.any(String) });
  }
});

test('what was cut off is noted apart from the answer', async () => {
  const { bytes, notes } = await written(addresses[0] as Address, 'FROM range(10)', 'csv', { max_rows: 2 });
  expect(bytes.toString()).toBe('range\r\n0\r\n1\r\n');
  expect(notes).toEqual(['there are more than these 2 rows: --max-rows takes more']);
});

test('parameters', async () => {
  expect((await written(addresses[0] as Address, 'SELECT $x::BIGINT AS x', 'csv', { params: { x: '9223372036854775807' } })).bytes.toString()).toBe('x\r\n9223372036854775807\r\n');
});

test('errors of the statement, and answers that break off', async () => {
  const address = addresses[1] as Address;
  await expect(written(address, 'SELEC', 'csv')).rejects.toMatchObject({ code: 'sql-syntax' });
  await expect(written(address, "SELECT CASE WHEN range = 500000 THEN error('late') ELSE range END AS n FROM range(1000000)", 'csv', { max_rows: 1_000_000 })).rejects.toMatchObject({ code: 'answer-broken' });
  await expect(written(address, "SELECT CASE WHEN range = 500000 THEN error('late') ELSE range END AS n FROM range(1000000)", 'table', { max_rows: 1_000_000 })).rejects.toMatchObject({ code: 'answer-broken' });
});

test('bytes are kept from terminals', async () => {
  const out = Object.assign(new PassThrough(), { isTTY: true });
  await expect(streamSql(addresses[0] as Address, { sql: 'SELECT 1', format: 'parquet', out })).rejects.toMatchObject({ code: 'binary-output', exit_code: 2 });
});

test('nobody there, or somebody else', async () => {
  await expect(requestText({ socket_path: join(folder, 'no.sock') }, { path: '/' })).rejects.toMatchObject({ code: 'unreachable', mend: expect.any(String) });
  await expect(requestText({ url: 'http://127.0.0.1:1' }, { path: '/' })).rejects.toMatchObject({ code: 'unreachable' });
  const other = createServer((_request, response) => response.writeHead(404).end('<h1>nope</h1>'));
  const socket_path = join(folder, 'other.sock');
  await new Promise<void>((resolve) => other.listen(socket_path, resolve));
  await expect(listTraces({ socket_path }, { limit: 1 })).rejects.toMatchObject({ code: 'answer', message: expect.stringContaining('404') });
  other.close();
});

test('requests with a body', async () => {
  const answer = await requestText(addresses[0] as Address, { method: 'POST', path: '/api/v1/correlate', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ from_ns: '0', to_ns: '9223372036854775807' }) });
  expect([answer.status, JSON.parse(answer.body)]).toEqual([200, expect.objectContaining({ links_lost: 0, links_moved: 0, links_gained: 0 })]);
  expect((await listTraces(addresses[0] as Address, { limit: 100 })).traces).toHaveLength(ORDERS + 3);
});
