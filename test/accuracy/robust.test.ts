// HTTP as it happens outside of examples, in two network namespaces with the same addresses and ports, traced at once.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { NetworkNamespace } from '../../demo/network-namespace.ts';
import type { ServiceSpec } from '../../demo/service-group.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { judge } from './judge.ts';
import { sendLoad } from './load.ts';
import { readSpans } from './measure.ts';
import { SHAPES, type Shape } from './shapes.ts';
import { setStage, type Stage } from './stage.ts';
import { Tracer, type Row } from './tracer.ts';
import { TREE, expectedSpans } from './tree.ts';

const run = promisify(execFile);
const PYTHON = '/usr/bin/python3';
const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
const script = (name: string): string => join(packageRoot(), 'test/accuracy/services', name);
const newId = (): string => `s${randomBytes(6).toString('hex')}`;

const shape = SHAPES['kept-connections'] as Shape;
const service = (file: string, port: number): ServiceSpec => ({ name: `${file}-${port}`, command: [PYTHON, script(file), String(port)], ports: [port], env: { PYTHONDONTWRITEBYTECODE: '1' } });

let left: Stage;
let right: Stage;
let tracer: Tracer;
let data: string;
/** Both ends, and the services in between, were connected before tracing started. */
let earlier: { readonly go_file: string; readonly path: string; readonly ended: Promise<string[]> };

/** A client that sends a first request now and another on the same connection when told to. */
async function connectEarly(stage: Stage): Promise<typeof earlier> {
  const go_file = join(stage.folder, 'go');
  const path = `/a/${newId()}`;
  const [program = '', ...args] = stage.netns.inside([PYTHON, script('get.py'), '127.0.0.1', '8001', `/a/${newId()}`, go_file, path]);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
  const statuses: string[] = [];
  const lines = createInterface({ input: child.stdout });
  await new Promise<void>((resolve, reject) => {
    lines.on('line', (line) => {
      statuses.push(line);
      resolve();
    });
    child.on('exit', () => reject(new Error('get.py ended early')));
  });
  return { go_file, path, ended: new Promise((resolve) => child.on('close', () => resolve(statuses))) };
}

beforeAll(async () => {
  data = mkdtempSync(join(tmpdir(), 'tracehouse-robust-'));
  left = await setStage((folder) => [...shape.services(folder), service('odd_service.py', 9001), service('odd_service.py', 9002), service('line_service.py', 9101)]);
  right = await setStage((folder) => [...shape.services(folder), service('odd_service.py', 9002)]);
  earlier = await connectEarly(left);
  tracer = await Tracer.start({ data, scopes: [`netns:${left.netns.name}`, `netns:${right.netns.name}`] });
});

afterAll(async () => {
  await tracer?.stop();
  await left?.stop();
  await right?.stop();
  if (data !== undefined) rmSync(data, { recursive: true, force: true });
});

async function get(netns: NetworkNamespace, host: string, port: number, path: string): Promise<string> {
  const [program = '', ...args] = netns.inside([PYTHON, script('get.py'), host, String(port), path]);
  return (await run(program, args, { env, timeout: 20_000 })).stdout.trim();
}

/** The spans whose path ends in the id, oldest first, when there are that many. */
async function spansOf(id: string, count: number): Promise<Row[]> {
  return tracer.poll(`select * from spans where url_path like '%/${id}' order by start_time, kind`, (rows) => rows.length >= count, 10_000);
}

/** Makes the service on port 9001 make the odd call; gives the spans of that call, after the links above it were checked. */
async function oddCall(name: string, calls: readonly string[], { with_outer = false } = {}): Promise<Row[]> {
  const id = newId();
  expect(await get(left.netns, '127.0.0.1', 9001, `/do/${name}/${id}`)).toBe('200');
  const spans = await spansOf(id, 2 + 2 * calls.length);
  const label = (span: Row | undefined): string => (span === undefined ? 'none' : `${String(span['kind'])} ${String(span['url_path']).replace(`/${id}`, '')}`);
  const by_id = new Map(spans.map((span) => [span['span_id'], span]));
  const links = spans.map((span) => `${label(by_id.get(span['parent_span_id']))} > ${label(span)}`);
  const outer = `/do/${name}`;
  expect(links.toSorted()).toEqual(
    [`none > client ${outer}`, `client ${outer} > server ${outer}`, ...calls.flatMap((call) => [`server ${outer} > client /${call}`, `client /${call} > server /${call}`])].toSorted(),
  );
  expect(new Set(spans.map((span) => span['trace_id'])).size).toBe(1);
  return with_outer ? spans : spans.filter((span) => !String(span['url_path']).startsWith('/do/'));
}

const statuses = (spans: readonly Row[], kind: string): unknown[] => spans.filter((span) => span['kind'] === kind).map((span) => span['http_response_status_code']);

test('connections opened before the collector are traced, at every hop', async () => {
  writeFileSync(earlier.go_file, '');
  expect(await earlier.ended).toEqual(['200', '200']);
  const id = earlier.path.split('/')[2] as string;
  const truth = [{ id, spans: expectedSpans(TREE, id) }];
  await spansOf(id, 8);
  const verdict = judge(truth, (await readSpans(tracer, `url_path like '%/${id}'`)).map((row) => row.span));
  expect(verdict.faults).toEqual([]);
  expect(verdict.exact).toBe(1);
});

test('bodies of 1 MB both ways, and the next request on the same connection', async () => {
  const spans = await oddCall('big', ['big', 'after-big']);
  const [client, server] = ['client', 'server'].map((kind) => spans.find((span) => span['kind'] === kind && String(span['url_path']).startsWith('/big/')));
  expect(client).toMatchObject({ http_request_method: 'POST', http_response_status_code: 200 });
  const bytes = [client, server].flatMap((span) => [Number(span?.['bytes_in']), Number(span?.['bytes_out'])]);
  expect(bytes.filter((count) => count < 1_000_000 || count > 1_001_000 || Number.isNaN(count))).toEqual([]);
});

test('a chunked response ends where it ends', async () => {
  const spans = await oddCall('chunked', ['chunked', 'after-chunked']);
  expect(statuses(spans, 'client')).toEqual([200, 200]);
});

test('pipelined requests pair in order', async () => {
  const spans = await oddCall('pipelined', ['pipelined-200', 'pipelined-404', 'pipelined-201']);
  for (const span of spans) expect(String(span['url_path'])).toMatch(new RegExp(`^/pipelined-${String(span['http_response_status_code'])}/`));
});

test('a refused connection is an error of its own, under the request that wanted it', async () => {
  const [, server] = await oddCall('refused', [], { with_outer: true });
  const [refused] = await tracer.poll(`select * from spans where parent_span_id = '${String(server?.['span_id'])}'`, (rows) => rows.length > 0, 10_000);
  expect(refused).toMatchObject({ kind: 'client', span_name: 'connect', status: 'error', server_port: 9, url_path: null, trace_id: server?.['trace_id'] });
  expect(JSON.parse(String(refused?.['attributes']))).toMatchObject({ errno: 111, answered: false });
});

test('a response cut off by a reset is an error or said to be incomplete', async () => {
  const spans = await oddCall('reset', ['reset']);
  expect(spans.filter((span) => span['status'] !== 'error' && span['complete'] !== false)).toEqual([]);
});

test('a response to HEAD has a length but no body', async () => {
  const spans = await oddCall('head', ['head', 'after-head']);
  expect(spans.filter((span) => span['http_request_method'] === 'HEAD').map((span) => span['http_response_status_code'])).toEqual([200, 200]);
  expect(spans.every((span) => span['complete'] === true)).toBe(true);
});

test('100 Continue is not the response', async () => {
  const spans = await oddCall('expect-continue', ['expect-continue']);
  expect(spans.map((span) => span['http_response_status_code'])).toEqual([201, 201]);
});

test('a server may answer before the request body ends', async () => {
  const spans = await oddCall('early-answer', ['early-answer']);
  expect(spans.map((span) => span['http_response_status_code'])).toEqual([413, 413]);
});

test('exchanges of an unknown protocol on a kept, idle connection are spans under their requests, within seconds', async () => {
  for (const id of [newId(), newId()]) {
    expect(await get(left.netns, '127.0.0.1', 9101, `/line/${id}`)).toBe('200');
    const spans = await tracer.poll(
      `select kind, url_path, parent_span_id, span_id from spans where trace_id = (select trace_id from spans where kind = 'server' and url_path = '/line/${id}')`,
      (rows) => rows.length >= 4,
      5000,
    );
    const [caller] = spans.filter((span) => span['kind'] === 'server' && span['url_path'] !== null);
    const [client, server] = ['client', 'server'].map((kind) => spans.find((span) => span['kind'] === kind && span['url_path'] === null));
    expect([spans.length, client?.['parent_span_id'], server?.['parent_span_id']]).toEqual([4, caller?.['span_id'], client?.['span_id']]);
  }
});

test('the same addresses and ports in two namespaces at once are two worlds', async () => {
  const started = Date.now();
  const sent = await Promise.all([left, right].map((stage) => sendLoad(shape, stage.netns, stage.folder, 100, 8, 'same')));
  const truth = sent.flat().map((one) => ({ id: one.id, spans: expectedSpans(TREE, one.id) }));
  const since = `start_time >= make_timestamp(${started}000)`;
  await tracer.poll(`select count(*) as n from spans where ${since}`, ([row]) => Number(row?.['n']) >= 1600, 10_000);
  const verdict = judge(truth, (await readSpans(tracer, since)).map((row) => row.span));
  expect(verdict.faults.slice(0, 10)).toEqual([]);
  expect(verdict.exact).toBe(200);
});

test('a connection through DNAT is one connection', async () => {
  NetworkNamespace.join(left.netns, '10.77.0.1/24', right.netns, '10.77.0.2/24');
  left.netns.ip('route', 'add', '10.77.9.0/24', 'via', '10.77.0.2');
  const rules = 'table ip nat { chain output { type nat hook output priority -100; ip daddr 10.77.9.9 tcp dport 80 dnat to 10.77.0.2:9002; }; }';
  const [program = '', ...args] = left.netns.inside(['nft', '-f', '-']);
  execFileSync(program, args, { input: rules });
  const id = newId();
  expect(await get(left.netns, '10.77.9.9', 80, `/dnat/${id}`)).toBe('200');
  const [client, server] = (await spansOf(id, 2)).toSorted((one, other) => String(one['kind']).localeCompare(String(other['kind'])));
  expect(client).toMatchObject({ kind: 'client', server_address: '10.77.9.9', server_port: 80 });
  expect(server).toMatchObject({ kind: 'server', parent_span_id: client?.['span_id'], trace_id: client?.['trace_id'], server_address: '10.77.0.2', server_port: 9002 });
});

test('it still runs, without a complaint of a defect, and ends in order', async () => {
  expect(tracer.running).toBe(true);
  expect(await tracer.stop()).toBe(0);
  expect(tracer.said.filter((line) => /error|exception|undefined|NaN/i.test(line))).toEqual([]);
});
