import { existsSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeError } from '../api/describe-error.ts';
import { TracehouseError } from '../schema/errors.ts';
import { buildApp } from '../api/app.ts';
import { listenBoth, parseListen } from '../api/listen.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let app: FastifyInstance;
const logged: string[] = [];

beforeAll(async () => {
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  app = buildApp({ warehouse }, { log: (line) => logged.push(line) });
});

afterAll(async () => {
  await app.close();
  await warehouse.close();
  remove();
});

describe('only loopback', () => {
  test.each([['127.0.0.1:7070', '127.0.0.1', 7070], ['localhost:0', '127.0.0.1', 0], ['[::1]:80', '::1', 80], ['127.1.2.3:65535', '127.1.2.3', 65535], ['LOCALHOST:1', '127.0.0.1', 1]])('%s', (text, host, port) => {
    expect(parseListen(text)).toEqual({ host, port });
  });

  test.each(['0.0.0.0:7070', ':7070', '[::]:7070', '192.168.1.4:7070', 'example.org:7070', '7070', '127.0.0.1', '127.0.0.1:70000', '127.0.0.1:x', '::1:7070', '[fe80::1]:7070', '[::ffff:127.0.0.1]:7070', ''])('refused: %s', (text) => {
    expect(() => parseListen(text)).toThrow(expect.objectContaining({ code: 'listen-refused', exit_code: 2, mend: expect.any(String) }));
  });
});

describe('pages from elsewhere', () => {
  const ask = async (headers: Record<string, string>): Promise<[number, string | undefined]> => {
    const answer = await app.inject({ url: '/healthz', headers });
    return [answer.statusCode, (answer.json() as { code?: string }).code];
  };

  test.each(['localhost', 'localhost:7070', '127.0.0.1:7070', '[::1]:7070', '127.8.0.1'])('host %s is served', async (host) => {
    expect(await ask({ host })).toEqual([200, undefined]);
  });

  test.each(['evil.example', 'evil.example:7070', '127.0.0.1.evil.example', 'localhost.evil.example:7070', '10.0.0.1', '[::1].evil.example', 'evil.example@localhost', 'localhost:7070:80'])('host %s is refused', async (host) => {
    expect(await ask({ host })).toEqual([403, 'host-refused']);
  });

  test('origins other than our own are refused', async () => {
    expect(await ask({ host: '127.0.0.1:7070', origin: 'http://127.0.0.1:7070' })).toEqual([200, undefined]);
    for (const origin of ['http://evil.example', 'http://127.0.0.1:3000', 'null', 'http://localhost:7070']) expect(await ask({ host: '127.0.0.1:7070', origin })).toEqual([403, 'origin-refused']);
  });

  test('requests across sites are refused, following a link is not', async () => {
    expect(await ask({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).toEqual([403, 'origin-refused']);
    expect(await ask({ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' })).toEqual([403, 'origin-refused']);
    expect(await ask({ 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' })).toEqual([200, undefined]);
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document', 'sec-fetch-user': '?1' };
    expect(await ask(link)).toEqual([200, undefined]);
    // A page that opens one in a frame, or a window by itself.
    expect(await ask({ ...link, 'sec-fetch-dest': 'iframe' })).toEqual([403, 'origin-refused']);
    const { 'sec-fetch-user': _, ...unasked } = link;
    expect(await ask(unasked)).toEqual([403, 'origin-refused']);
  });

  test('the check comes before everything, also where there is nothing', async () => {
    for (const url of ['/nothing', '/docs', '/openapi.json', '/metrics', '/api/v1/sql?q=SELECT%201']) expect((await app.inject({ url, headers: { host: 'evil.example' } })).statusCode).toBe(403);
  });

  test('no answer allows other origins anything', async () => {
    for (const method of ['GET', 'OPTIONS'] as const) {
      const { headers } = await app.inject({ method, url: '/api/v1/traces', headers: { origin: 'http://localhost:80' } });
      expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'no-referrer', 'cross-origin-resource-policy': 'same-origin' });
    }
  });
});

test('each answer has a request id; a decent one of the caller stays', async () => {
  expect((await app.inject('/healthz')).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  expect((await app.inject({ url: '/nothing', headers: { 'x-request-id': 'abc-1' } })).json()).toMatchObject({ request_id: 'abc-1', code: 'not-found' });
  expect((await app.inject({ url: '/healthz', headers: { 'x-request-id': 'a b<script>' } })).headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
});

test('what goes wrong inside stays inside', async () => {
  const other = buildApp({ warehouse: { ...warehouse, runs: () => [], oldestSpan: () => Promise.reject(new Error('secret detail')), connect: () => Promise.reject(new Error('secret detail')), query: () => Promise.reject(new Error('secret detail')) } as unknown as Warehouse }, { log: (line) => logged.push(line) });
  const answer = await other.inject({ url: '/api/v1/services', headers: { 'x-request-id': 'r-77' } });
  expect([answer.statusCode, answer.json()]).toEqual([500, expect.objectContaining({ code: 'internal', request_id: 'r-77' })]);
  expect(answer.body).not.toContain('secret');
  expect(logged.at(-1)).toMatch(/^r-77 GET \/api\/v1\/services: .*secret detail/);
  await other.close();
});

describe('listening', () => {
  const ask = (options: object): Promise<string> =>
    new Promise((resolve, reject) => {
      request({ path: '/healthz', ...options }, (response) => {
        response.setEncoding('utf8').once('data', resolve);
      }).once('error', reject).end();
    });
  const address = { host: '127.0.0.1', port: 0 };
  const socket_path = join(folder, 'tracehouse.sock');

  test('the same API answers on an address and on a socket file that only its owner may use', async () => {
    writeFileSync(socket_path, 'left over');
    const listening = await listenBoth(() => buildApp({ warehouse }), { address, socket_path });
    expect(listening.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(statSync(socket_path).mode & 0o777).toBe(0o600);
    expect(await ask({ port: Number(new URL(listening.url).port) })).toBe('{"status":"ok"}');
    expect(await ask({ socketPath: socket_path, headers: { host: 'localhost' } })).toBe('{"status":"ok"}');
    await expect(listenBoth(() => buildApp({ warehouse }), { address, socket_path })).rejects.toMatchObject({ code: 'socket-in-use' });
    expect(await ask({ socketPath: socket_path, headers: { host: 'localhost' } })).toBe('{"status":"ok"}');
    await listening.close();
    expect(existsSync(socket_path)).toBe(false);
  });

  test('a port in use is one clear error', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as AddressInfo;
    await expect(listenBoth(() => buildApp({ warehouse }), { address: { host: '127.0.0.1', port } })).rejects.toMatchObject({ code: 'port-in-use', message: `127.0.0.1:${port} is in use`, mend: expect.any(String) });
    other.close();
  });

  test('a path that no socket can have is one clear error', async () => {
    await expect(listenBoth(() => buildApp({ warehouse }), { address, socket_path: join(folder, 'x'.repeat(120)) })).rejects.toMatchObject({ code: 'socket-path' });
  });

  test('closing does not wait for a long statement', async () => {
    const listening = await listenBoth(() => buildApp({ warehouse }), { address, socket_path });
    const sent = request({ socketPath: socket_path, method: 'POST', path: '/api/v1/sql', headers: { host: 'localhost', 'content-type': 'application/json' } });
    const ended = new Promise<string>((resolve) => {
      sent.once('response', (response) => response.setEncoding('utf8').once('data', resolve));
      sent.once('error', (error) => resolve(error.message));
    });
    sent.end(JSON.stringify({ sql: 'SELECT count(*) FROM range(3000000) a, range(3000000) b WHERE a.range * b.range = 3', timeout_ms: 60_000 }));
    await new Promise((resolve) => sent.once('finish', resolve));
    // Its head is on the wire; running it is a matter of milliseconds, and a statement that is not running yet is cancelled as well.
    await new Promise((resolve) => setTimeout(resolve, 100));
    const from = performance.now();
    await listening.close();
    expect(performance.now() - from).toBeLessThan(2500);
    expect(await ended).toContain('sql-cancelled');
  });
});

test('a question that needs more memory than there is is told so, not called an internal error', () => {
  const error = new Error('Out of Memory Error: failed to pin block of size 256.0 KiB (488.2 MiB/488.2 MiB used)');
  for (const thrown of [error, new TracehouseError('storage-failed', 'storage failed', { cause: error })]) {
    expect(describeError(thrown)).toEqual({ status: 503, code: 'out-of-memory', detail: expect.any(String), mend: expect.stringContaining('--memory-limit') });
  }
});
