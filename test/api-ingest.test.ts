import { request as httpRequest } from 'node:http';
import type { ClientRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { ARROW_STREAM } from '../api/routes/ingest.ts';
import { encodeBatches } from '../ingest/arrow-format.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

let warehouse: Warehouse;
let app: FastifyInstance;
const logged: string[] = [];

beforeEach(async () => {
  logged.length = 0;
  warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  app = buildApp({ warehouse }, { ingest_limit_bytes: 2 * 1024 * 1024, log: (line) => logged.push(line) });
});

afterEach(async () => {
  await app.close();
  await warehouse.close();
});

const event = (at: number) => ({ ts_ns: at, mono_ns: at, socket_id: 1, op: 'read', bytes: 5, stream_offset: at, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false });
const batch = (sequence: bigint, rows = 3) => makeBatch({ sequence, run_id: 9n }, { socket_events: Array.from({ length: rows }, (_, at) => event(at)) });
const send = (payload: Uint8Array, headers: Record<string, string> = {}) => app.inject({ method: 'POST', url: '/api/v1/ingest', payload: Buffer.from(payload), headers: { 'content-type': ARROW_STREAM, ...headers } });
const events = async (): Promise<unknown> => (await warehouse.query('SELECT count(*) FROM socket_events')).rows[0]?.[0];

test('applied once, however often it comes', async () => {
  const stream = encodeBatches([batch(1n), batch(2n)]);
  const first = await send(stream);
  expect([first.statusCode, first.json()]).toEqual([200, { applied: 2, duplicates: 0, rows: 6, last_apply_no: '2' }]);
  expect((await send(stream)).json()).toEqual({ applied: 0, duplicates: 2, rows: 0, last_apply_no: '2' });
  expect((await send(encodeBatches([batch(2n), batch(3n)]))).json()).toEqual({ applied: 1, duplicates: 1, rows: 3, last_apply_no: '3' });
  expect(await events()).toBe(9n);
});

test('gzip is taken, other encodings are not', async () => {
  const stream = encodeBatches([batch(1n, 1000)]);
  expect((await send(gzipSync(stream), { 'content-encoding': 'gzip' })).json()).toMatchObject({ applied: 1, rows: 1000 });
  expect((await send(stream, { 'content-encoding': 'br' })).json()).toMatchObject({ status: 415, code: 'unsupported-encoding' });
  expect((await send(stream, { 'content-encoding': 'gzip' })).json()).toMatchObject({ status: 400 });
  expect((await send(gzipSync(stream).subarray(0, -20), { 'content-encoding': 'gzip' })).json()).toMatchObject({ status: 400 });
  expect(await events()).toBe(1000n);
});

test('limits hold for what comes and for what it unfolds to', async () => {
  expect((await send(new Uint8Array(3 * 1024 * 1024))).json()).toMatchObject({ status: 413, code: 'body-too-large' });
  expect((await send(gzipSync(new Uint8Array(300 * 1024 * 1024)), { 'content-encoding': 'gzip' })).json()).toMatchObject({ status: 413, code: 'body-too-large' });
});

test('what is no Arrow stream is told so, and changes nothing', async () => {
  const stream = encodeBatches([batch(1n)]);
  for (const [bytes, what] of [[new Uint8Array(0), 'empty'], [Buffer.from('{"not": "arrow"}'), 'no Arrow'], [stream.subarray(0, stream.length / 2), 'cut off'], [Buffer.from('PAR1PAR1'), 'Parquet']] as const) {
    const answer = await send(bytes);
    expect([answer.statusCode, answer.json()], answer.body).toEqual([400, expect.objectContaining({ code: 'arrow-format', mend: expect.any(String) })]);
    expect((answer.json() as { detail: string }).detail).toContain(what);
  }
  expect(await events()).toBe(0n);
});

test('a batch of a newer writer, and one that breaks its own rules, name what is wrong', async () => {
  const newer = await send(encodeBatches([makeBatch({ schema_version: 99 }, {})]));
  expect(newer.json()).toMatchObject({ status: 422, code: expect.stringMatching(/version/), mend: expect.any(String) });
  const broken = await send(encodeBatches([makeBatch({ sequence: 0n }, {})]));
  expect(broken.json()).toMatchObject({ status: 400, code: 'arrow-format', detail: expect.stringContaining('sequence is below 1'), mend: expect.any(String), applied: 0 });
});

test('other content types are refused', async () => {
  for (const type of ['application/json', 'text/plain', 'application/octet-stream']) {
    const answer = await app.inject({ method: 'POST', url: '/api/v1/ingest', payload: type === 'application/json' ? '{}' : 'x', headers: { 'content-type': type } });
    expect(answer.json()).toMatchObject({ status: 415, code: 'unsupported-media-type' });
  }
  expect((await app.inject({ method: 'POST', url: '/api/v1/ingest' })).json()).toMatchObject({ status: 415 });
});

test('a closed warehouse is not ready, and says nothing of itself', async () => {
  await warehouse.close();
  expect((await send(encodeBatches([batch(1n)]))).json()).toMatchObject({ status: 503, code: 'warehouse-closed' });
  expect((await app.inject('/readyz')).json()).toMatchObject({ status: 503, code: 'not-ready' });
  expect((await app.inject('/healthz')).statusCode).toBe(200);
});

/** A sender that has been heard of, and sends its body when it is told to. */
function sender(port: number, bytes: number, headers: Record<string, string | number> = { 'content-length': bytes }): { request: ClientRequest; answer: Promise<{ status: number; text: string }> } {
  const request = httpRequest({ port, host: '127.0.0.1', method: 'POST', path: '/api/v1/ingest', headers: { 'content-type': ARROW_STREAM, ...headers }, agent: false });
  const answer = new Promise<{ status: number; text: string }>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece)).on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
  });
  answer.catch(() => undefined);
  request.flushHeaders();
  return { request, answer };
}

test('beyond what is held at once, bodies are not read before there is room: in order, and not for ever', async () => {
  const narrow = buildApp({ warehouse }, { ingest_limit_bytes: 2 * 1024 * 1024, ingest_room: { bytes: 1_000_000, wait_ms: 5000 } });
  let arrived = 0;
  narrow.addHook('onRequest', async () => void (arrived += 1));
  const arrival = (count: number): Promise<void> => expect.poll(() => arrived, { timeout: 10_000 }).toBe(count);
  try {
    await narrow.listen({ port: 0, host: '127.0.0.1' });
    const { port } = narrow.server.address() as AddressInfo;
    const stream = Buffer.from(encodeBatches([batch(1n, 500)]));
    expect(stream.length).toBeLessThan(900_000);
    const filler = 900_000;
    const slow = sender(port, filler);
    slow.request.write(Buffer.alloc(1000));
    await arrival(1);
    const gone = sender(port, stream.length);
    await arrival(2);
    const [plain, packed] = [sender(port, stream.length), sender(port, 0, { 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' })];
    plain.request.end(stream);
    packed.request.end(gzipSync(Buffer.from(encodeBatches([batch(2n, 7)]))));
    await arrival(4);
    await delay(100);
    gone.request.destroy();
    expect(await events()).toBe(0n); // all wait for the slow one
    slow.request.end(Buffer.alloc(filler - 1000));
    expect((await slow.answer).status).toBe(400);
    expect([(await plain.answer).status, (await packed.answer).status]).toEqual([200, 200]);
    expect(await events()).toBe(507n);
    const again = sender(port, filler);
    await arrival(5);
    const late = await sender(port, stream.length).answer;
    expect([late.status, JSON.parse(late.text)]).toEqual([429, expect.objectContaining({ code: 'ingest-busy', mend: expect.any(String) })]);
    again.request.destroy();
    // The one that left has made room.
    const last = sender(port, stream.length);
    last.request.end(stream);
    expect(JSON.parse((await last.answer).text)).toMatchObject({ duplicates: 1 });
  } finally {
    await narrow.close();
  }
});

/** What would end the process. */
function crashes(): string[] {
  const seen: string[] = [];
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => seen.push(error.stack ?? error.message));
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of before) process.on('uncaughtException', listener);
  });
  return seen;
}

test('a body that is no gzip, of a type that is not taken, does not end the process', async () => {
  const seen = crashes();
  await app.listen({ port: 0, host: '127.0.0.1' });
  const refused = sender((app.server.address() as AddressInfo).port, 0, { 'content-type': 'text/plain', 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' });
  refused.request.end('not gzip at all');
  expect((await refused.answer).status).toBe(415);
  const broken = sender((app.server.address() as AddressInfo).port, 0, { 'content-encoding': 'gzip', 'transfer-encoding': 'chunked' });
  broken.request.end('not gzip at all');
  expect((await broken.answer).status).toBe(400);
  await delay(100);
  expect(seen).toEqual([]);
});
