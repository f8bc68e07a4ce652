// One small story for each kind of evidence: who is named, how sure, and where nothing may be claimed.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { packageRoot } from '../schema/package-root.ts';
import { makeBatch, type Row } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';
import { PROCESS, at, tell, type Told } from './support/told-process.ts';

/** Two requests that are open at the same time, read by threads 1 and 2, answered by the given ones. */
const two = (answered_by: readonly [number, number] = [1, 2], more: Partial<Told> = {}): Told[] => [
  { name: 'R1', kind: 'server', from: 0, to: 20, threads: [1, answered_by[0]], ...more },
  { name: 'R2', kind: 'server', from: 1, to: 21, threads: [2, answered_by[1]], ...more },
];

test('thread: it had read one request and not answered it', async () => {
  const { links } = await tell([...two(), { name: 'call', kind: 'client', from: 5, to: 8, threads: [2, 2] }]);
  expect(links['call']).toEqual({ parent: 'R2', evidence: 'thread', confidence: 1, candidates: ['R2'] });
});

test('header: the ids that a program passes on go before its threads, and show how good these are', async () => {
  const [one, other] = [`00-${'1'.repeat(32)}-${'a'.repeat(16)}-01`, `00-${'2'.repeat(32)}-${'b'.repeat(16)}-01`];
  const requests = two().map((request, index) => ({ ...request, traceparent: index === 0 ? one : other }));
  const { links, warehouse } = await tell([...requests, { name: 'lied to', kind: 'client', from: 5, to: 8, threads: [2, 2], traceparent: one }, { name: 'confirmed', kind: 'client', from: 6, to: 9, threads: [1, 1], traceparent: one }]);
  expect(links['lied to']).toMatchObject({ parent: 'R1', evidence: 'header', confidence: 1, candidates: ['R1', 'R2'] });
  expect(links['confirmed']).toMatchObject({ parent: 'R1', confidence: 1 });
  const { rows } = await warehouse.query('SELECT service_name, evidence, score, links, right_links, precision FROM evidence_precision');
  expect(rows).toEqual([['P', 'thread', 1, 2n, 1n, 0.5]]);
});

test('task: the goroutine that answers, or a child of it, whatever thread it runs on', async () => {
  const requests = two([3, 4]).map((request, index) => ({ ...request, task: 10 + index, answer_task: 10 + index }));
  const { links } = await tell([
    ...requests,
    { name: 'own', kind: 'client', from: 5, to: 8, threads: [1, 3], task: 11, parent_task: 1 },
    { name: 'by a child', kind: 'client', from: 6, to: 9, threads: [2, 3], task: 30, parent_task: 10 },
    { name: 'by a stranger', kind: 'client', from: 7, to: 9, threads: [2, 3], task: 31, parent_task: 5 },
  ]);
  expect(links['own']).toMatchObject({ parent: 'R2', evidence: 'task' });
  expect(links['by a child']).toMatchObject({ parent: 'R1', evidence: 'task' });
  expect(links['by a stranger']).toMatchObject({ parent: null, candidates: ['R1', 'R2'] });
});

test('task: whom main has started besides those that serve works for nobody, and so does main', async () => {
  const requests = two([3, 4]).map((request, index) => ({ ...request, task: 10 + index, parent_task: 1, answer_task: 10 + index }));
  const { links } = await tell([
    ...requests,
    { name: 'ticker', kind: 'client', from: 5, to: 8, threads: [2, 3], task: 5, parent_task: 1 },
    { name: 'main', kind: 'client', from: 6, to: 8, threads: [2, 3], task: 1 },
  ]);
  for (const name of ['ticker', 'main']) expect(links[name]).toMatchObject({ parent: null, candidates: ['R1', 'R2'] });
});

test.each([0, 1, 2, 3])('task: goes before threads that say as much for another request, whatever the ids of spans (%d others before)', async (others) => {
  const before = Array.from({ length: others }, (_, i): Told => ({ name: `before ${i}`, kind: 'server', from: i - 50, to: i - 40, threads: [3, 3] }));
  const { links } = await tell([
    ...before,
    { name: 'R1', kind: 'server', from: 0, to: 20, threads: [1, 1], task: 10, parent_task: 1, answer_task: 10 },
    { name: 'R2', kind: 'server', from: 1, to: 15, threads: [2, 9], task: 11, parent_task: 1, answer_task: 11 },
    { name: 'call', kind: 'client', from: 5, to: 8, threads: [9, 9], task: 10, parent_task: 1 },
  ]);
  expect(links['call']).toMatchObject({ parent: 'R1', evidence: 'task', candidates: ['R1', 'R2'] });
});

test('responder: a worker that has read nothing calls for the request that it answers next', async () => {
  const { links } = await tell([
    ...two([8, 9]),
    { name: 'by 9', kind: 'client', from: 5, to: 8, threads: [9, 9] },
    { name: 'by 8', kind: 'client', from: 6, to: 9, threads: [8, 8] },
    // Its answer comes after the response: it can have been made for a later request.
    { name: 'late', kind: 'client', from: 19, to: 30, threads: [8, 8] },
  ]);
  expect(links['by 9']).toMatchObject({ parent: 'R2', evidence: 'responder', confidence: 0.99 });
  expect(links['by 8']).toMatchObject({ parent: 'R1', evidence: 'responder' });
  expect(links['late']).toMatchObject({ parent: null });
});

test('responder: of two requests that one write answers neither is chosen', async () => {
  const { links } = await tell([
    { name: 'R1', on: 'pipelined', kind: 'server', from: 0, to: 20, threads: [1, 9] },
    { name: 'R2', on: 'pipelined', kind: 'server', from: 0.01, to: 20, threads: [1, 9] },
    { name: 'first', kind: 'client', from: 5, to: 8, threads: [9, 9] },
    { name: 'second', kind: 'client', from: 10, to: 12, threads: [9, 9] },
  ]);
  for (const name of ['first', 'second']) expect(links[name]).toMatchObject({ parent: null, candidates: ['R1', 'R2'] });
});

test('birth: a thread that lives for one call works for what its maker had read', async () => {
  const { links } = await tell(
    [...two(), { name: 'call', kind: 'client', from: 5, to: 8, threads: [50, 50] }],
    [{ op: 'fork', at: 4, thread: 2, target: 50 }, { op: 'exit', at: 9, thread: 50 }],
  );
  expect(links['call']).toMatchObject({ parent: 'R2', evidence: 'birth', confidence: 0.99 });
});

test('hand back: the waiting reader is woken by the worker that has called for it', async () => {
  const { links } = await tell(
    [...two(), { name: 'call', kind: 'client', from: 5, to: 8, threads: [50, 50] }, { name: 'other', kind: 'client', from: 5.5, to: 8.5, threads: [51, 51] }],
    [{ op: 'wake', at: 8.6, thread: 51, target: 1 }, { op: 'wake', at: 9, thread: 50, target: 2 }],
  );
  expect(links['call']).toMatchObject({ parent: 'R2', evidence: 'hand_back' });
  expect(links['other']).toMatchObject({ parent: 'R1', evidence: 'hand_back' });
});

/** An event loop: groups of requests read in one turn, called for `lag` turns later, in the order in which they were read. */
function loop(lag: (group: number) => number): Told[] {
  const told: Told[] = [];
  for (let group = 0; group < 12; group += 1) {
    const turn = 1 + group * 20;
    for (const [index, name] of ['x', 'y', 'z'].slice(0, 2 + (group % 2)).entries()) {
      const start = group * 100 + index;
      told.push({ name: `R${group}${name}`, kind: 'server', from: start, to: start + 60, threads: [1, 1], turns: [turn, turn + 9] });
      told.push({ name: `call ${group}${name}`, kind: 'client', from: start + 20, to: start + 30, threads: [1, 1], turns: [turn + lag(group), turn + 8] });
    }
  }
  return told.toSorted((a, b) => a.from - b.from);
}

test('turn: a constant number of turns after the read, first come, first served', async () => {
  const { links } = await tell(loop(() => 2));
  for (const [name, link] of Object.entries(links)) expect(link).toMatchObject({ parent: name.replace('call ', 'R'), evidence: 'turn' });
  expect(Object.keys(links).length).toBe(30);
});

test('turn: connections that a program opens all at its start follow the trigger of its later calls', async () => {
  // Both numbers of turns explain all first calls: 3 after the request, 1 after the answer of the other callee. Later calls tell.
  const round = (at_ms: number, turn: number, lag: number, gap: number): Told[] =>
    ['x', 'y'].flatMap((who, i): Told[] => [
      { name: `R${at_ms}${who}`, on: `in ${who}`, kind: 'server', from: at_ms + i * 0.1, to: at_ms + 9 + i * 0.1, threads: [1, 1], turns: [turn, turn + 20] },
      { name: `b${at_ms}${who}`, on: `b ${who}`, kind: 'client', from: at_ms + 1 + i * 0.1, to: at_ms + 2 + i * 0.1, threads: [1, 1], turns: [turn + 1, turn + 1 + gap], port: 81 },
      { name: `c${at_ms}${who}`, on: `c ${who}`, kind: 'client', from: at_ms + 3 + i * 0.1, to: at_ms + 4 + i * 0.1, threads: [1, 1], turns: [turn + 1 + gap + lag, turn + 9], port: 82 },
    ]);
  const rounds = Array.from({ length: 8 }, (_, i) => round(10 + i * 10, 100 + i * 100, 1, i === 0 ? 1 : 1 + (i % 4))).flat();
  const first = rounds.map((one) => (one.name.startsWith('c10') ? { ...one, connect: { at: one.from - 0.5, turn: 103 } } : one));
  const { links } = await tell(first);
  expect([links['c10x']?.parent, links['c10y']?.parent, links['c80x']?.parent, links['c80y']?.parent]).toEqual(['R10x', 'R10y', 'R80x', 'R80y']);
  expect(links['c10x']?.evidence).toBe('turn');
});

test('turn: without a constant nothing is claimed, and the candidates are kept', async () => {
  const { links } = await tell(loop((group) => 1 + ((group * 7) % 6)));
  for (const link of Object.values(links)) expect(link.parent).toBeNull();
  expect(links['call 1y']?.candidates).toEqual(['R1x', 'R1y', 'R1z']);
});

test("slot: the thread that waits is woken by way of a client library's own threads", async () => {
  // 1 and 2 read and answer; 60 writes the calls, 61 reads the answers and wakes 62, which wakes who waits.
  const { links } = await tell(
    [...two(), { name: 'call', kind: 'client', from: 5, to: 8, threads: [60, 61] }, { name: 'other', kind: 'client', from: 6, to: 9, threads: [60, 61] }],
    [{ op: 'wake', at: 8.01, thread: 61, target: 62 }, { op: 'wake', at: 8.1, thread: 62, target: 2 }, { op: 'wake', at: 9.01, thread: 61, target: 62 }, { op: 'wake', at: 9.1, thread: 62, target: 1 }],
  );
  expect(links['call']).toMatchObject({ parent: 'R2', evidence: 'slot', confidence: 0.99 });
  expect(links['other']).toMatchObject({ parent: 'R1', evidence: 'slot', confidence: 0.99 });
});

/** Pairs of requests that overlap, all read by one thread and called for by another; `delay`: ms from a request to its call. */
function pairs(count: number, delay: (pair: number, who: number) => number): Told[] {
  const told: Told[] = [];
  for (let pair = 0; pair < count; pair += 1) {
    for (const who of [0, 1]) {
      const start = pair * 100 + who * 2;
      told.push({ name: `R${pair}.${who}`, kind: 'server', from: start, to: start + 40, threads: [1, 3] });
      told.push({ name: `call ${pair}.${who}`, kind: 'client', from: start + delay(pair, who), to: start + delay(pair, who) + 5, threads: [2, 2] });
    }
  }
  return told.toSorted((a, b) => a.from - b.from);
}

test('timing: what usually takes as long is the cause, where nothing else tells; the model is a row', async () => {
  const { links, warehouse } = await tell(pairs(40, (pair, who) => 5 + ((pair * 7 + who * 3) % 10) / 20));
  const wrong = Object.entries(links).filter(([name, link]) => link.parent !== name.replace('call ', 'R'));
  expect(wrong).toEqual([]);
  expect(links['call 20.1']).toMatchObject({ evidence: 'timing', candidates: ['R20.0', 'R20.1'] });
  expect(links['call 20.1']?.confidence).toBeGreaterThan(0.9);
  const { rows } = await warehouse.query("SELECT DISTINCT m.service, m.parameters FROM span_links l JOIN models m ON m.model_version = l.model_version WHERE l.evidence = 'timing'");
  expect(rows.map(([service]) => service)).toEqual(['P']);
  const { delays } = JSON.parse(String(rows[0]?.[1])) as { delays: { event: string; median_ns: number }[] };
  expect(delays.find(({ event }) => event !== 'answer')?.median_ns).toBeGreaterThan(4.5e6);
});

test('timing: where delays say nothing, nothing is claimed', async () => {
  const { links } = await tell(pairs(60, (pair, who) => 3 + ((pair * 37 + who * 53) % 31)));
  const linked = Object.values(links).filter(({ parent }) => parent !== null);
  expect(linked.filter(({ evidence }) => evidence === 'timing')).toEqual([]);
  expect(Object.values(links).some(({ parent, candidates }) => parent === null && candidates.length === 2)).toBe(true);
});

test('open: the only request that was open, unless the process calls on its own account as well', async () => {
  const request: Told = { name: 'R', kind: 'server', from: 0, to: 20, threads: [1, 9] };
  const call: Told = { name: 'call', kind: 'client', from: 5, to: 8, threads: [4, 5] };
  const { links } = await tell([request, call]);
  expect(links['call']).toEqual({ parent: 'R', evidence: 'open', confidence: 0.95, candidates: ['R'] });
  const own = [30, 40, 50].map((from): Told => ({ name: `own ${from}`, kind: 'client', from, to: from + 2, threads: [4, 5] }));
  const busy = await tell([request, call, ...own]);
  expect(busy.links['call']).toMatchObject({ parent: null, candidates: ['R'] });
  expect(busy.links['own 40']).toMatchObject({ parent: null, candidates: [] });
});

test('a request without end does not make a trace without end: later calls begin traces of their own, and say so', async () => {
  const calls = [1, 2, 3, 4, 5].map((number): Told => ({ name: `call ${number}`, kind: 'client', from: number * 2, to: number * 2 + 1, threads: [1, 1] }));
  const { links, warehouse } = await tell([{ name: 'stream', kind: 'server', from: 0, to: 100, threads: [1, 1] }, ...calls], [], { limits: { call_limit: 3n } });
  expect(calls.map(({ name }) => links[name]?.parent)).toEqual(['stream', 'stream', 'stream', null, null]);
  const { rows } = await warehouse.query("SELECT l.evidence, l.score, l.chosen FROM span_links l JOIN spans s USING (span_id) WHERE s.parent_span_id IS NULL AND s.kind = 'client' ORDER BY ALL");
  expect(rows).toEqual([['split', 1, false], ['split', 1, false], ['thread', 1, false], ['thread', 1, false]]);
});

test.each(['is still open', 'was closed later'])('a thread is free once it has written an answer whose head is longer than what is captured, while the connection %s', async (connection) => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const who = { process_id: PROCESS, pid: 7, protocol: 'http', stream_offset: 0, first_thread_id: 5n, last_thread_id: 5n, complete: true, partial: false };
  const message = (socket: number, kind: string, role: string, ms: number, more: object): Row => ({ ...who, socket_id: BigInt(socket), conn_id: BigInt(socket), role, kind, direction: (role === 'client') === (kind === 'request') ? 'out' : 'in', ts_ns: at(ms), end_ts_ns: at(ms + 0.01), end_offset: 100, ...more }) as Row;
  const open = connection === 'is still open';
  await warehouse.apply(makeBatch({ node: 'n', boot_id: 'b', run_id: 1n, sequence: 1n, watermark_ns: at(30_000), utc_ns: at(30_000) }, {
    messages: [
      message(1, 'request', 'server', 0, { method: 'GET', path: '/a', end_reason: 'no_body' }),
      message(1, 'response', 'server', 10, { status: 200, complete: false, partial: open, end_reason: open ? 'open' : 'close' }),
      message(2, 'request', 'client', 3000, { method: 'GET', path: '/timer', end_reason: 'no_body' }),
      message(2, 'response', 'client', 3010, { status: 200, end_reason: 'length' }),
    ],
    socket_events: open ? [] : [{ ts_ns: at(5000), socket_id: 1n, op: 'close', layer: 'socket' }],
  }));
  await new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9 }).cycle();
  const { rows } = await warehouse.query("SELECT url_path, parent_span_id FROM spans WHERE kind = 'client'");
  expect(rows).toEqual([['/timer', null]]);
});

test('open: what a service calls while nobody waits for it is remembered, when one request is open by chance', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const correlator = new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9 });
  const exchange = (socket: number, role: string, thread: bigint, from: number, to: number, path: string): Row[] =>
    (['request', 'response'] as const).map((kind) => ({
      process_id: PROCESS, pid: 7, protocol: 'http', stream_offset: 0, end_offset: 100, first_thread_id: thread, last_thread_id: thread, complete: true, partial: false, socket_id: BigInt(socket), conn_id: BigInt(socket), role, kind,
      direction: (role === 'client') === (kind === 'request') ? 'out' : 'in', ts_ns: at(kind === 'request' ? from : to), end_ts_ns: at((kind === 'request' ? from : to) + 0.01), ...(kind === 'request' ? { method: 'GET', path, end_reason: 'no_body' } : { status: 200, end_reason: 'length' }),
    }) as Row);
  // Every ten seconds, in cycles of their own; requests come in between, and one is open at the last of them.
  for (let n = 0; n < 6; n += 1) {
    const ms = n * 10_000;
    const messages = [...exchange(100 + n, 'client', 9n, ms + 20, ms + 40, `/timer/${n}`), ...exchange(200 + n, 'server', 5n, n === 5 ? ms : ms + 1000, n === 5 ? ms + 100 : ms + 1100, `/asked/${n}`)];
    await warehouse.apply(makeBatch({ node: 'n', boot_id: 'b', run_id: 1n, sequence: BigInt(n + 1), watermark_ns: at(ms + 9000), utc_ns: at(ms + 9000) }, { messages }));
    await correlator.cycle();
  }
  await correlator.finish();
  const { rows } = await warehouse.query("SELECT path, parent_span_id IS NULL, candidates FROM stored.spans WHERE NOT is_server ORDER BY 1");
  expect(rows).toEqual([0, 1, 2, 3, 4].map((n) => [`/timer/${n}`, true, 0]).concat([['/timer/5', true, 1]]));
});

/** An HTTP exchange of a process, in ms from the start. */
const exchangeOf = (process_id: bigint, socket: number, role: string, thread: bigint, from: number, to: number, path: string): Row[] =>
  (['request', 'response'] as const).map((kind) => ({
    process_id, pid: Number(process_id), protocol: 'http', stream_offset: 0, end_offset: 100, first_thread_id: thread, last_thread_id: thread, complete: true, partial: false, socket_id: BigInt(socket), conn_id: BigInt(socket), role, kind,
    direction: (role === 'client') === (kind === 'request') ? 'out' : 'in', ts_ns: at(kind === 'request' ? from : to), end_ts_ns: at((kind === 'request' ? from : to) + 0.01), ...(kind === 'request' ? { method: 'GET', path, end_reason: 'no_body' } : { status: 200, end_reason: 'length' }),
  }) as Row);

async function lives(): Promise<{ warehouse: Warehouse; correlator: Correlator; land: (ms: number, messages: Row[], more?: object) => Promise<void>; calls: () => Promise<unknown> }> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  const correlator = new Correlator(warehouse, { late_pause_ms: 0, silent_ms: 1e9 });
  let sequence = 0n;
  return {
    warehouse, correlator,
    land: async (ms, messages, more = {}) => {
      sequence += 1n;
      await warehouse.apply(makeBatch({ node: 'n', boot_id: 'b', run_id: 1n, sequence, watermark_ns: at(ms), utc_ns: at(ms) }, { messages, ...more }));
      await correlator.cycle();
    },
    calls: async () => (await warehouse.query("SELECT path, parent_span_id IS NOT NULL, parent_confidence FROM stored.spans WHERE NOT is_server AND path LIKE '/late%' ORDER BY 1")).rows,
  };
}

test('open: what a service calls on its own account stays known when a part of history is correlated again', async () => {
  const { warehouse, correlator, land, calls } = await lives();
  await land(40_000, Array.from({ length: 30 }, (_, n) => exchangeOf(PROCESS, 1000 + n, 'client', 9n, n * 1000, n * 1000 + 5, '/early')).flat());
  await warehouse.seal();
  await land(70_000, [...exchangeOf(PROCESS, 1, 'server', 5n, 50_000, 50_200, '/a'), ...exchangeOf(PROCESS, 1100, 'client', 9n, 50_100, 50_105, '/late/1')]);
  expect(await calls()).toEqual([['/late/1', false, null]]);
  await correlator.again({ from_ns: at(50_000), to_ns: at(60_000) });
  expect(await calls()).toEqual([['/late/1', false, null]]);
  await land(100_000, [...exchangeOf(PROCESS, 2, 'server', 5n, 80_000, 80_200, '/a'), ...exchangeOf(PROCESS, 1101, 'client', 9n, 80_100, 80_105, '/late/2')]);
  expect(await calls()).toEqual([['/late/1', false, null], ['/late/2', false, null]]);
  // Long settled, it is done beside live cycles.
  await warehouse.seal();
  await land(200_000, []);
  expect((await correlator.again({ from_ns: at(50_000), to_ns: at(90_000) })).spans).toBeGreaterThan(3);
  expect(await calls()).toEqual([['/late/1', false, null], ['/late/2', false, null]]);
});

test('open: what a process of the same name calls that serves nothing says nothing of the one that serves', async () => {
  const { land, calls } = await lives();
  const worker = 78n;
  const processes = [PROCESS, worker].map((process_id) => ({ ts_ns: at(0), process_id, pid: Number(process_id), service_name: 'manage.py', comm: 'python3' }));
  await land(40_000, Array.from({ length: 30 }, (_, n) => exchangeOf(worker, 1000 + n, 'client', 9n, n * 1000, n * 1000 + 5, '/early')).flat(), { processes });
  await land(70_000, [...exchangeOf(PROCESS, 1, 'server', 5n, 50_000, 50_200, '/a'), ...exchangeOf(PROCESS, 1100, 'client', 6n, 50_100, 50_105, '/late/1')]);
  expect(await calls()).toEqual([['/late/1', true, 0.95]]);
});

const beganAnew = [{ anew: 'never' }, { anew: 'after a restart', restart_ms: 4000 }, { anew: 'after a part of history was done again', again_ms: 4000 }] as const;
test.each(beganAnew)('open: a request that was answered before the working set was read anew stays a candidate: $anew', async (how) => {
  let [sealed, done] = [false, false];
  const { links } = await tell(
    [
      { name: 'R0', kind: 'server', from: 100, to: 200, threads: [7, 7] },
      { name: 'R1', kind: 'server', from: 0, to: 3000, threads: [1, 1] },
      { name: 'R2', kind: 'server', from: 2000, to: 9000, threads: [2, 2] },
      { name: 'call', kind: 'client', from: 2500, to: 2600, threads: [50, 50] },
    ],
    [],
    {
      every_ms: 1000,
      ...('restart_ms' in how ? { restart_ms: how.restart_ms } : {}),
      after: async ({ warehouse, correlator, ms }) => {
        if (!('again_ms' in how)) return;
        if (!sealed && ms >= 1000) await warehouse.seal().then(() => (sealed = true));
        if (done || ms < how.again_ms) return;
        done = true;
        await warehouse.seal();
        await correlator.again({ from_ns: at(0), to_ns: at(500) });
      },
    },
  );
  expect(links['call']).toEqual({ parent: null, evidence: null, confidence: null, candidates: ['R1', 'R2'] });
});

test.each([undefined, 22_000])('thread: a request of long ago that had just ended when the working set was read anew is still whose the call was (restart: %s)', async (restart_ms) => {
  const { links } = await tell(
    [
      { name: 'R1', kind: 'server', from: 0, to: 20_000, threads: [1, 1] },
      { name: 'call', kind: 'client', from: 19_000, to: 26_000, threads: [1, 1] },
      { name: 'R2', kind: 'server', from: 30_000, to: 30_001, threads: [3, 3] },
    ],
    [],
    { every_ms: 500, ...(restart_ms === undefined ? {} : { restart_ms }) },
  );
  expect(links['call']).toMatchObject({ parent: 'R1', evidence: 'thread', confidence: 1 });
});

test('candidates are requests, whatever speaks for them: the parent is none of those that were rejected', async () => {
  const { warehouse } = await tell(
    [
      { name: 'R1', kind: 'server', from: 0, to: 100, threads: [1, 2] },
      { name: 'R2', kind: 'server', from: 5, to: 300, threads: [1, 3] },
      { name: 'call', kind: 'client', from: 20, to: 50, threads: [2, 2] },
    ],
    [{ op: 'fork', at: 2, thread: 1, target: 2 }],
  );
  const { rows: links } = await warehouse.query('SELECT evidence, chosen FROM span_links ORDER BY evidence');
  expect(links).toEqual([['birth', false], ['open', false], ['responder', true]]);
  const { rows } = await warehouse.query("SELECT attributes->>'candidates' FROM spans WHERE kind = 'client'");
  expect(rows).toEqual([['2']]);
  const uncertain = readFileSync(join(packageRoot(), 'queries', 'cookbook', 'uncertain-links.sql'), 'utf8');
  const { columns, rows: found } = await warehouse.query(uncertain, { start: null, end: null, service: null, below: 1.1, limit: null });
  const of = (name: string): unknown => found[0]?.[columns.findIndex((column) => column.name === name)];
  expect([of('mean_rejected'), of('best_rejected_score')]).toEqual([1, 0.25]);
});

// Two batch jobs at once, each with so many calls that may be either's.
const jobs = (calls: number): Told[] => {
  const [start, length] = [3000, calls * 4];
  const small = Array.from({ length: 100 }, (_, i): Told[] => [
    { name: `small ${i}`, path: '/small', on: `s${i % 4}`, kind: 'server', from: i * 20, to: i * 20 + 10, threads: [1, 1] },
    { name: `of small ${i}`, on: 'db', kind: 'client', from: i * 20 + 1, to: i * 20 + 5, threads: [1, 1], port: 5432 },
  ]).flat();
  const batches: Told[] = [
    { name: 'export', path: '/export', kind: 'server', from: start, to: start + length + 50, threads: [1, 1] },
    { name: 'import', path: '/import', kind: 'server', from: start + 30, to: start + length + 90, threads: [1, 1] },
  ];
  const of_batches = Array.from({ length: calls }, (_, i) => [0, 1].map((of): Told => {
    const from = start + 40 + i * 4 + of * 1.7 + ((i * 7919) % 900) / 1000;
    const port = of === 0 || i % 2 === 1 ? 6001 : 6002;
    return { name: `${of}/${i}`, on: `pool ${of} ${port}`, kind: 'client', from, to: from + 1, threads: [1, 1], port };
  })).flat();
  return [...small, ...batches, ...of_batches.toSorted((a, b) => a.from - b.from)];
};

test('timing: what costs too much to weigh is left undecided', async () => {
  const by = async (calls: number): Promise<unknown> => {
    const { warehouse } = await tell(jobs(calls));
    return (await warehouse.query("SELECT parent_evidence, count(*) FROM spans WHERE kind = 'client' GROUP BY 1 ORDER BY 1 NULLS LAST")).rows;
  };
  expect(await by(40)).toEqual([['thread', 100n], ['timing', 80n]]);
  expect(await by(130)).toEqual([['thread', 100n], [null, 260n]]);
});
