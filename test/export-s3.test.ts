import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { S3Store } from '../queries/export/s3-store.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { makeBatch } from './support/make-batch.ts';
import { S3Server } from './support/s3-server.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
let server: S3Server;
let warehouse: Warehouse;
let scheduler: ExportScheduler;

beforeAll(async () => {
  server = await S3Server.start(folder);
  ({ warehouse } = await shopWarehouse(join(folder, 'data')));
  scheduler = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) });
});

afterAll(async () => {
  await warehouse.close();
  await server.stop();
  remove();
});

/** Key -> SHA-256 of what the store gives back. */
async function objects(prefix: string): Promise<Map<string, string>> {
  const client = new S3Client({ region: 'us-east-1', endpoint: `http://127.0.0.1:${server.port}`, forcePathStyle: true, credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' }, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' });
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: 'traces', Prefix: prefix }));
  const found = new Map<string, string>();
  for (const { Key } of Contents) {
    const { Body } = await client.send(new GetObjectCommand({ Bucket: 'traces', Key }));
    found.set(Key as string, createHash('sha256').update((await Body?.transformToByteArray()) as Uint8Array).digest('hex'));
  }
  client.destroy();
  return found;
}

const ledger = async (state: string): Promise<Map<string, string>> =>
  new Map((await warehouse.query('SELECT path, checksum FROM export_files WHERE state = $1', [state])).rows.map(([path, checksum]) => [(path as string).replace('s3://traces/', ''), checksum as string]));

test('what the ledger says is in the store, byte for byte', async () => {
  const { export_id } = await scheduler.add({ destination: 's3://traces/from/here/' });
  const report = await scheduler.run(export_id);
  expect(report.files).toBeGreaterThan(5);
  expect(await objects('from/here/')).toEqual(await ledger('done'));
});

test('a store that is away holds nothing up: what is committed goes there later, once, and nothing is exported meanwhile', async () => {
  const { export_id } = await scheduler.add({ destination: 's3://traces/from/here' });
  const event = { mono_ns: 1, socket_id: 1, op: 'read', bytes: 1, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false };
  const apply = (sequence: bigint) => warehouse.apply(makeBatch({ sequence, node: 'node-2', run_id: 8n }, { socket_events: [{ ...event, ts_ns: NOW_NS + sequence, stream_offset: 1 }] }));
  await apply(2n);
  await server.goAway();
  for (let tries = 0; tries < 2; tries++) await expect(scheduler.run(export_id)).rejects.toMatchObject({ code: 'export-failed' });
  expect((await warehouse.query('SELECT last_error IS NOT NULL FROM exports WHERE export_id = $1', [export_id])).rows).toEqual([[true]]);
  const staged = await ledger('staged');
  const keeping = new ExportScheduler(warehouse, { now_ms: () => Number(NOW_NS / 1_000_000n) + 10_000, keep: { max_age_ns: 1n, exported_only: true } });
  expect((await keeping.keep()).held).toBeGreaterThan(0);
  expect((await warehouse.query('SELECT node FROM stored.socket_events')).rows).toEqual([['node-2']]); // what waits for the store stays, what is there went
  expect(staged.size).toBeGreaterThan(0);
  await apply(3n);
  await warehouse.seal();
  await warehouse.compact();
  await server.comeBack();
  await scheduler.run(export_id);
  expect((await ledger('staged')).size).toBe(0);
  expect(await objects('from/here/')).toEqual(await ledger('done'));
  for (const [key, checksum] of staged) expect((await ledger('done')).get(key)).toBe(checksum);
  expect((await warehouse.query("SELECT sum(rows)::BIGINT FROM export_files WHERE relation = 'socket_events'")).rows).toEqual([[102n]]);
  expect((await warehouse.query('SELECT last_error FROM exports WHERE export_id = $1', [export_id])).rows).toEqual([[null]]);
});

test('files of several parts are whole', async () => {
  const other = await Warehouse.open({ folder: mkdtempSync(join(folder, 'big-')), seal_every_ms: 0 });
  const rows = Array.from({ length: 12_000 }, (_, i) => ({ ts_ns: NOW_NS + BigInt(i), mono_ns: i, socket_id: 1, op: 'write', bytes: 1000, stream_offset: i, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false, payload: randomBytes(1000) }));
  await other.apply(makeBatch({}, { socket_events: rows }));
  const exporter = new ExportScheduler(other);
  const { export_id } = await exporter.add({ destination: 's3://traces/big', relations: ['socket_events'] });
  expect((await exporter.run(export_id)).bytes).toBeGreaterThan(8n * 1024n * 1024n);
  expect([...(await objects('big/')).values()]).toEqual((await other.query('SELECT checksum FROM export_files')).rows.flat());
  await other.close();
});

describe('a store that takes connections and says nothing', () => {
  let silent: Server;
  const sockets = new Set<Socket>();
  beforeAll(async () => {
    silent = createServer((socket) => void sockets.add(socket.on('data', () => undefined).on('error', () => undefined)));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const env = () => ({ AWS_ENDPOINT_URL: `http://127.0.0.1:${(silent.address() as AddressInfo).port}` });
  const staged = (): string => {
    const path = join(folder, 'staged.parquet');
    writeFileSync(path, 'rows');
    return path;
  };

  test('is not waited for for ever', async () => {
    const store = new S3Store('s3://traces/x', { ...process.env, ...env() }, 200);
    await expect(store.put(staged(), 'x.parquet')).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(store.get('x.parquet')).rejects.toMatchObject({ name: 'TimeoutError' });
    store.close();
  });

  test('keeps nobody from ending', async () => {
    const store = new S3Store('s3://traces/x', { ...process.env, ...env() });
    const put = Promise.all(['x', 'y', 'z'].map((name) => expect(store.put(staged(), `${name}.parquet`)).rejects.toMatchObject({ name: 'AbortError' })));
    const got = expect(store.get('x.parquet')).rejects.toMatchObject({ name: 'AbortError' });
    await expect.poll(() => sockets.size).toBeGreaterThan(3);
    store.close();
    await Promise.all([put, got]);
  });
});

test('places that are none are refused at once', async () => {
  for (const destination of ['s3://', 's3://UPPER/x', 'ftp://somewhere/x']) await expect(scheduler.add({ destination })).rejects.toMatchObject({ code: 'export-destination' });
});
