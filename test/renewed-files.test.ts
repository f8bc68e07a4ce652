// Files that were read and are not any more are attached anew, while others read them.
import { renameSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { closeParts, openParts } from '../ingest/warehouse-parts.ts';
import type { WarehouseParts } from '../ingest/warehouse-parts.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const FILES = 3;
const AT_ONCE = { unread_ms: 0, rows: 1, together: FILES };

async function sealedFiles(): Promise<WarehouseParts & { lines: string[] }> {
  const folder = temporaryFolder();
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 1 });
  for (let n = 1; n <= FILES; n += 1) {
    await warehouse.apply(makeBatch({ sequence: BigInt(n) }, { thread_events: [{ ts_ns: 1000 * n, op: 'exit' }] }));
    await warehouse.seal();
  }
  await warehouse.close();
  const lines: string[] = [];
  const parts = await openParts({ folder, retire_after_ms: 1, log: (line) => lines.push(line) });
  onTestFinished(async () => {
    await parts.catalog.close();
    await closeParts(parts);
  });
  return { ...parts, lines };
}

const aliases = ({ catalog }: WarehouseParts): string[] => catalog.sealed('raw').map(({ alias }) => alias);
const count = async ({ connections }: WarehouseParts, relation: string): Promise<number> => Number((await connections.index.runAndReadAll(`SELECT count(*) FROM ${relation}`)).getRows()[0]?.[0]);
const attached = async ({ connections }: WarehouseParts): Promise<string[]> =>
  (await connections.index.runAndReadAll("SELECT database_name FROM duckdb_databases() WHERE database_name LIKE 'raw_%' AND database_name NOT LIKE '%_open'")).getRows().map(([name]) => name as string).toSorted();

test('under another name, once whoever names the former one is done; and back the next time', async () => {
  const parts = await sealedFiles();
  const { catalog } = parts;
  const first = aliases(parts);
  await catalog.renewUnread('raw', [], AT_ONCE); // nobody has read them
  expect(aliases(parts)).toEqual(first);

  const former = catalog.relationOver('raw', 'thread_events', () => true);
  let done: () => void = () => undefined;
  catalog.holdFilesFor(new Promise<void>((resolve) => (done = resolve)));
  await catalog.renewUnread('raw', [], AT_ONCE);
  const second = aliases(parts);
  expect(second.filter((alias) => first.includes(alias))).toEqual([]);
  expect(await count(parts, catalog.relationOver('raw', 'thread_events', () => true))).toBe(FILES);
  expect(await count(parts, 'memory.stored.thread_events')).toBe(FILES);
  expect(await count(parts, former)).toBe(FILES);
  await catalog.renewUnread('raw', [], AT_ONCE); // the former names are still taken
  expect(aliases(parts)).toEqual(second);

  done();
  await expect.poll(() => attached(parts)).toEqual(second.toSorted());
  await catalog.renewUnread('raw', [], AT_ONCE);
  expect(aliases(parts)).toEqual(first);
  expect(await count(parts, 'memory.stored.thread_events')).toBe(FILES);
});

test('only such as are large, unread for a while, many, and in no statement under way', async () => {
  const parts = await sealedFiles();
  const { catalog } = parts;
  const first = aliases(parts);
  catalog.relationOver('raw', 'thread_events', () => true);
  await catalog.renewUnread('raw', [], { ...AT_ONCE, unread_ms: 60_000 });
  await catalog.renewUnread('raw', [], { ...AT_ONCE, rows: 1000 });
  await catalog.renewUnread('raw', [], { ...AT_ONCE, together: FILES + 1 });
  await catalog.renewUnread('raw', catalog.sealed('raw').slice(1), AT_ONCE);
  await catalog.renewUnread('derived', [], AT_ONCE);
  expect(aliases(parts)).toEqual(first);
  await catalog.renewUnread('raw', catalog.sealed('raw').slice(1), { ...AT_ONCE, together: 1 });
  expect(aliases(parts).map((alias, n) => alias === first[n])).toEqual([false, true, true]);
});

test('a file that cannot be attached anew stays as it is', async () => {
  const parts = await sealedFiles();
  const { catalog } = parts;
  const first = aliases(parts);
  const { path } = catalog.sealed('raw')[FILES - 1]!;
  catalog.relationOver('raw', 'thread_events', () => true);
  renameSync(path, `${path}.away`);
  await catalog.renewUnread('raw', [], AT_ONCE);
  renameSync(`${path}.away`, path);
  expect(aliases(parts).map((alias, n) => alias === first[n])).toEqual([false, false, true]);
  expect(parts.lines.join()).toContain(path);
  expect(await count(parts, 'memory.stored.thread_events')).toBe(FILES);
  await expect.poll(() => attached(parts)).toEqual(aliases(parts).toSorted());
});

test('views that cannot be made anew: all files stay as they are', async () => {
  const parts = await sealedFiles();
  const { catalog, connections } = parts;
  const first = aliases(parts);
  catalog.relationOver('raw', 'thread_events', () => true);
  const run = connections.catalog.run.bind(connections.catalog);
  connections.catalog.run = (sql: string) => (sql.startsWith('BEGIN') ? Promise.reject(new Error('no memory')) : run(sql));
  await catalog.renewUnread('raw', [], AT_ONCE);
  connections.catalog.run = run;
  expect(aliases(parts)).toEqual(first);
  expect(parts.lines.join()).toContain('no memory');
  expect(await count(parts, 'memory.stored.thread_events')).toBe(FILES);
  expect(await count(parts, catalog.relationOver('raw', 'thread_events', () => true))).toBe(FILES);
  await expect.poll(() => attached(parts)).toEqual(first.toSorted());
  await catalog.renewUnread('raw', [], AT_ONCE);
  expect(aliases(parts).some((alias) => first.includes(alias))).toBe(false);
});

test('a file that is read while its name of an open one leaves is known as read', async () => {
  const parts = await sealedFiles();
  const { catalog, connections, segment_writers } = parts;
  const writer = segment_writers!.raw;
  const { uid, alias } = writer.open;
  await connections.index.run(`INSERT INTO "${alias}".main.thread_events (ts_ns, op) VALUES (9000, 'exit')`);
  let done: () => void = () => undefined;
  catalog.holdFilesFor(new Promise<void>((resolve) => (done = resolve)));
  await writer.seal(true);
  catalog.relationOver('raw', 'thread_events', (segment) => segment.uid === uid);
  done();
  await expect.poll(async () => (await connections.index.runAndReadAll(`SELECT 1 FROM duckdb_databases() WHERE database_name = '${alias}'`)).currentRowCount).toBe(0);
  await catalog.renewUnread('raw', [], { ...AT_ONCE, together: 1 });
  expect(catalog.sealed('raw').filter((segment) => segment.alias.endsWith('_again')).map((segment) => segment.uid)).toEqual([uid]);
});
