import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, expect, test, vi } from 'vitest';
import { SpoolSender } from '../ingest/spool-sender.ts';
import { Spool, type SpooledLoss } from '../ingest/spool.ts';

/** Deletions whose end the event loop learns of late, what happens between a file that is not there and the reader's learning of it, and what was made durable. */
const slow = vi.hoisted(() => ({ unlink: null as RegExp | null, missing: null as (() => void) | null, done: [] as string[] }));
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  return {
    ...real,
    open: (...of: Parameters<typeof real.open>) =>
      real.open(...of).then((file) => {
        for (const how of ['sync', 'datasync'] as const) {
          const sync = file[how].bind(file);
          file[how] = () => sync().finally(() => slow.done.push(`${how} ${String(of[0])}`));
        }
        return file;
      }, (error: unknown) => {
        slow.missing?.();
        throw error;
      }),
    rename: (from: string, to: string) => real.rename(from, to).finally(() => slow.done.push(`rename ${from} ${to}`)),
    unlink: async (path: string): Promise<void> => {
      await real.unlink(path);
      if (slow.unlink?.test(path) === true) await new Promise((resolve) => setTimeout(resolve, 300));
    },
  };
});

const folder = (): string => mkdtempSync(join(tmpdir(), 'spool-'));
const batch = (sequence: number, events = 10) => ({ run_id: 1_700_000_000_000_000_000n, sequence: BigInt(sequence), events, from_ns: BigInt(sequence * 100), to_ns: BigInt(sequence * 100 + 50) });
const servers: Server[] = [];
afterEach(() => servers.splice(0).forEach((server) => server.close()));

/** A warehouse that answers what `answer` says and remembers the bodies' first bytes. */
async function warehouse(answer: (count: number) => number): Promise<{ url: string; got: string[]; encodings: (string | undefined)[] }> {
  const got: string[] = [];
  const encodings: (string | undefined)[] = [];
  let count = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      count += 1;
      const status = answer(count);
      const encoding = request.headers['content-encoding'];
      encodings.push(encoding);
      if (status === 200) got.push((encoding === 'gzip' ? gunzipSync(Buffer.concat(chunks)) : Buffer.concat(chunks)).toString());
      response.writeHead(status).end('{}');
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got, encodings };
}

test('keeps batches over a restart and gives them back oldest first', async () => {
  const path = folder();
  const first = Spool.open(path, 1e6);
  for (const n of [1, 2, 10]) await first.put(batch(n), Buffer.from(`batch ${n}`));
  const [name] = readdirSync(path);
  writeFileSync(join(path, `${name?.replace('-0000000001-', '-0000000011-')}.tmp`), 'cut off by a kill');
  for (const other of ['something-else', 'something.tmp']) writeFileSync(join(path, other), 'left alone');
  const second = Spool.open(path, 1e6);
  expect(second.length).toBe(3);
  expect(readdirSync(path).filter((left) => !left.endsWith('.arrows'))).toEqual(['something-else', 'something.tmp']);
  const oldest = second.oldest();
  expect(oldest).toMatchObject({ events: 10, from_ns: 100n, to_ns: 150n });
  const file = await second.read(oldest!);
  expect((await file.readFile()).toString()).toBe('batch 1');
  await file.close();
});

test('a batch is durable with its name', async () => {
  const path = folder();
  const spool = Spool.open(path, 1e6);
  slow.done.length = 0;
  await spool.put(batch(1), Buffer.from('batch 1'));
  const name = join(path, readdirSync(path)[0] as string);
  expect(slow.done).toEqual([`datasync ${name}.tmp`, `rename ${name}.tmp ${name}`, `sync ${path}`]);
});

test('drops the oldest above the limit and says what was lost', async () => {
  const path = folder();
  const spool = Spool.open(path, 250);
  expect(await spool.put(batch(1), Buffer.alloc(100))).toBeUndefined();
  expect(await spool.put(batch(2), Buffer.alloc(100))).toBeUndefined();
  expect(await spool.put(batch(3), Buffer.alloc(200))).toEqual({ events: 20, from_ns: 100n, to_ns: 250n });
  expect(spool.bytes).toBe(200);
  expect(readdirSync(path)).toHaveLength(1);
});

test('sends until acknowledged, through failures, in order, and drops what is refused for good', async () => {
  const { url, got } = await warehouse((count) => (count === 1 ? 503 : count === 3 ? 422 : 200));
  const lines: string[] = [];
  const spool = Spool.open(folder(), 1e6);
  const given_up: SpooledLoss[] = [];
  const sender = new SpoolSender(spool, { url, log: (line) => lines.push(line), on_refused: (lost) => given_up.push(lost), retry_ms: { first: 5, most: 10 } });
  sender.start();
  for (const n of [1, 2, 3]) {
    await spool.put(batch(n), Buffer.from(`batch ${n}`));
    sender.notify();
  }
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(got).toEqual(['batch 1', 'batch 3']);
  expect(sender.counters).toEqual({ sent: 2, retried: 1, refused: 1 });
  expect(given_up).toEqual([{ events: 10, from_ns: 200n, to_ns: 250n }]);
  expect(lines.some((line) => line.includes('answered 503'))).toBe(true);
  expect(lines.some((line) => line.includes('refused batch'))).toBe(true);
});

test('a batch on its way is not dropped for want of room, and so neither counted as lost nor sent twice', async () => {
  let answer: () => void = () => undefined;
  const answered = new Promise<void>((resolve) => (answer = resolve));
  const got: string[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => got.push(chunk.toString().slice(0, 7)));
    request.on('end', () => void answered.then(() => response.writeHead(200).end('{}')));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const spool = Spool.open(folder(), 250);
  await spool.put(batch(1), Buffer.from('batch 1'.padEnd(100)));
  const sender = new SpoolSender(spool, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, log: () => undefined });
  sender.start();
  await expect.poll(() => got.length).toBe(1);
  await spool.put(batch(2), Buffer.from('batch 2'.padEnd(100)));
  expect(await spool.put(batch(3), Buffer.from('batch 3'.padEnd(100)))).toEqual({ events: 10, from_ns: 200n, to_ns: 250n });
  answer();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(got).toEqual(['batch 1', 'batch 3']);
});

test('a batch that has to go for want of room just when the one before it is acknowledged is counted as lost once', async () => {
  const answers: (() => void)[] = [];
  const got: string[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => got.push(chunk.toString().slice(0, 7)));
    request.on('end', () => answers.push(() => response.writeHead(200).end('{}')));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const path = folder();
  const spool = Spool.open(path, 250);
  for (const n of [1, 2]) await spool.put(batch(n), Buffer.from(`batch ${n}`.padEnd(100)));
  const lost: SpooledLoss[] = [];
  const sender = new SpoolSender(spool, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, log: () => undefined, on_refused: (one) => lost.push(one) });
  sender.start();
  await expect.poll(() => answers.length).toBe(1);
  slow.unlink = /-0000000002-/;
  const put = spool.put(batch(3), Buffer.from('batch 3'.padEnd(100)));
  await expect.poll(() => readdirSync(path).some((name) => name.includes('-0000000002-'))).toBe(false);
  answers[0]?.();
  const dropped = await put;
  slow.unlink = null;
  if (dropped !== undefined) lost.push(dropped);
  await expect.poll(() => answers.length).toBe(2);
  answers[1]?.();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(got).toEqual(['batch 1', 'batch 3']);
  expect(lost).toEqual([{ events: 10, from_ns: 200n, to_ns: 250n }]);
});

test('a spool whose folder is away for a moment is sent when it is there again', async () => {
  const { url, got } = await warehouse(() => 200);
  const path = folder();
  const spool = Spool.open(path, 1e6);
  for (const n of [1, 2, 3]) await spool.put(batch(n), Buffer.from(`batch ${n}`));
  const lost: SpooledLoss[] = [];
  const sender = new SpoolSender(spool, { url, log: () => undefined, on_refused: (one) => lost.push(one), retry_ms: { first: 5, most: 10 } });
  renameSync(path, `${path}-away`);
  sender.start();
  await expect.poll(() => sender.counters.retried).toBeGreaterThan(2);
  renameSync(`${path}-away`, path);
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect({ got, lost, left: readdirSync(path) }).toEqual({ got: ['batch 1', 'batch 2', 'batch 3'], lost: [], left: [] });
});

test('a spool whose folder comes back just after a file was not found loses nothing', async () => {
  const { url, got } = await warehouse(() => 200);
  const path = folder();
  const spool = Spool.open(path, 1e6);
  await spool.put(batch(1), Buffer.from('batch 1'));
  const lost: SpooledLoss[] = [];
  const sender = new SpoolSender(spool, { url, log: () => undefined, on_refused: (one) => lost.push(one), retry_ms: { first: 5, most: 10 } });
  renameSync(path, `${path}-away`);
  slow.missing = () => {
    slow.missing = null;
    renameSync(`${path}-away`, path);
  };
  sender.start();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect({ got, lost }).toEqual({ got: ['batch 1'], lost: [] });
});

test('a batch that was taken but cannot be deleted is sent again until it can, and nothing ends', async () => {
  const { url, got } = await warehouse(() => 200);
  const path = folder();
  const spool = Spool.open(path, 1e6);
  await spool.put(batch(1), Buffer.from('batch 1'));
  const sender = new SpoolSender(spool, { url, log: () => undefined, retry_ms: { first: 5, most: 10 } });
  const unlinked = vi.spyOn(spool, 'remove').mockRejectedValueOnce(new Error('EROFS: read-only file system'));
  sender.start();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(unlinked).toHaveBeenCalledTimes(2);
  expect(got).toEqual(['batch 1', 'batch 1']);
});

test('a file that somebody has removed is counted as lost, and holds nothing back', async () => {
  const { url, got } = await warehouse(() => 200);
  const path = folder();
  const spool = Spool.open(path, 1e6);
  for (const n of [1, 2]) await spool.put(batch(n), Buffer.from(`batch ${n}`));
  rmSync(join(path, readdirSync(path).sort()[0] as string));
  const given_up: SpooledLoss[] = [];
  const sender = new SpoolSender(spool, { url, log: () => undefined, on_refused: (lost) => given_up.push(lost) });
  sender.start();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(got).toEqual(['batch 2']);
  expect(given_up).toEqual([{ events: 10, from_ns: 100n, to_ns: 150n }]);
});

test('a file that its disk cannot read is counted as lost, and the next batch is sent at once', async () => {
  const { url, got } = await warehouse(() => 200);
  const spool = Spool.open(folder(), 1e8);
  for (const n of [1, 2, 3]) await spool.put(batch(n), n === 2 ? Buffer.alloc(1_000_000) : Buffer.from(`batch ${n}`));
  const read = spool.read.bind(spool);
  vi.spyOn(spool, 'read').mockImplementation(async (entry) => {
    const file = await read(entry);
    const readPiece = file.read.bind(file) as (...of: unknown[]) => Promise<{ bytesRead: number; buffer: Buffer }>;
    if (entry.from_ns === 200n) vi.spyOn(file, 'read').mockImplementation(async (...of: unknown[]) => {
      if (Number(of[3]) > 0) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
      return readPiece(...of);
    });
    return file;
  });
  const lost: SpooledLoss[] = [];
  const sender = new SpoolSender(spool, { url, log: () => undefined, on_refused: (one) => lost.push(one), retry_ms: { first: 5, most: 10 } });
  sender.start();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect({ got, lost }).toEqual({ got: ['batch 1', 'batch 3'], lost: [{ events: 10, from_ns: 200n, to_ns: 250n }] });
});

test('packs what it sends when it is asked to, and says so', async () => {
  const { url, got, encodings } = await warehouse(() => 200);
  for (const compress of ['gzip', 'none'] as const) {
    const spool = Spool.open(folder(), 1e6);
    const sender = new SpoolSender(spool, { url, compress, log: () => undefined });
    await spool.put(batch(1), Buffer.from(`as ${compress}`));
    sender.start();
    await expect.poll(() => spool.length).toBe(0);
    await sender.stop(1000);
  }
  expect(got).toEqual(['as gzip', 'as none']);
  expect(encodings).toEqual(['gzip', undefined]);
});

test('a batch of many pieces arrives whole and once, though the connection broke within it', async () => {
  const sent = Buffer.from(Array.from({ length: 1_500_000 }, (_, at) => (at * 31) >> 7));
  const got: Buffer[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    connections += 1;
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('error', () => undefined);
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (connections === 1 && bytes > 700_000) request.socket.destroy();
    });
    request.on('end', () => {
      got.push(Buffer.concat(chunks));
      response.end('{}');
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const spool = Spool.open(folder(), 1e8);
  const sender = new SpoolSender(spool, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, log: () => undefined, retry_ms: { first: 5, most: 10 } });
  await spool.put(batch(1), sent);
  await spool.put(batch(2), Buffer.from('and another'));
  sender.start();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(got.map((body) => body.equals(sent))).toEqual([true, false]);
  expect(got[1]?.toString()).toBe('and another');
  expect(sender.counters).toEqual({ sent: 2, retried: 1, refused: 0 });
});

test('an answer that comes before all is sent counts, and the next batch gets a connection of its own', async () => {
  const server = createServer((request, response) => {
    if (Number(request.headers['content-length']) > 1e6) {
      response.writeHead(413).end('too large');
      return;
    }
    request.resume().on('end', () => response.end('{}'));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const spool = Spool.open(folder(), 1e9);
  const lines: string[] = [];
  const sender = new SpoolSender(spool, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, log: (line) => lines.push(line), retry_ms: { first: 5, most: 10 } });
  await spool.put(batch(1), Buffer.alloc(30_000_000));
  await spool.put(batch(2), Buffer.from('small'));
  sender.start();
  await expect.poll(() => spool.length).toBe(0);
  await sender.stop(1000);
  expect(sender.counters).toMatchObject({ sent: 1, refused: 1 });
  expect(lines.some((line) => line.includes('(413): too large'))).toBe(true);
});
