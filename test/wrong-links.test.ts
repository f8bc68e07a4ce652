// Where evidence misleads: threads that work for each other, clients that give up, connections made ahead of need. A wrong link is worse than a missing one.
import { expect, test } from 'vitest';
import { recorrelate } from '../queries/recorrelate.ts';
import { sharedPoolOfLoops, sharedThreads, type Load, type Reads, type Story } from './support/simulated-pools.ts';
import { tell, type Ended, type Link, type Told } from './support/told-process.ts';

const server = (name: string, from: number, to: number, threads: readonly [number, number], more: Partial<Told> = {}): Told => ({ name, kind: 'server', from, to, threads, ...more });
const call = (name: string, from: number, to: number, thread: number, more: Partial<Told> = {}): Told => ({ name, kind: 'client', from, to, threads: [thread, thread], ...more });

/** Of the calls of a story, by what was said of them: the evidence of right and of wrong links, and how many have no parent. */
function judge(links: Record<string, Link>): { right: Record<string, number>; wrong: Record<string, number>; without: number } {
  const verdict = { right: {} as Record<string, number>, wrong: {} as Record<string, number>, without: 0 };
  for (const [name, { parent, evidence }] of Object.entries(links)) {
    const cause = /^c(\d+)\./.exec(name)?.[1];
    if (parent === null) verdict.without += 1;
    else {
      const kind = cause !== undefined && parent === `R${cause}` ? verdict.right : verdict.wrong;
      kind[String(evidence)] = (kind[String(evidence)] ?? 0) + 1;
    }
  }
  return verdict;
}

const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((all, one) => all + one, 0);

const judged = async ({ told, moved }: Story): Promise<ReturnType<typeof judge>> => judge((await tell(told, moved)).links);

test.each([40, 250, 1000])('loops that share their connections call for each other: no thread is taken at its word (%i requests a second)', async (per_second) => {
  const { right, wrong } = await judged(sharedPoolOfLoops({ threads: 4, requests: 150, per_second }));
  expect(wrong['thread']).toBeUndefined();
  // Of 300. A loop that wakes another one may have two reasons.
  expect(sum(wrong)).toBeLessThan(6);
  expect(sum(right)).toBeGreaterThan(100);
});

test('loops that keep their connections to themselves: their threads tell', async () => {
  const { right, wrong } = await judged(sharedPoolOfLoops({ threads: 4, requests: 150, per_second: 250, own_pools: true }));
  expect(wrong['thread']).toBeUndefined();
  expect(right['thread']).toBeGreaterThan(180);
});

test.each(['anybody', 'worker'] as const)('threads that read requests for each other, answered by %s: neither what they hold nor what they answer next tells whose a call is', async (answers) => {
  for (const per_second of [100, 600]) {
    const { right, wrong } = await judged(sharedThreads({ threads: 8, requests: 100, per_second, reads: 'anybody', answers }));
    expect(sum(wrong)).toBeLessThan(2);
    expect([right['thread'], right['responder']]).toEqual([undefined, undefined]);
  }
});

test.each<[string, Omit<Load, 'requests' | 'threads'> & { reads: Reads; after?: boolean }, (right: Record<string, number>) => boolean]>([
  ['a thread for each request', { reads: 'worker', per_second: 600 }, (right) => right['thread'] === 100],
  ['that calls once more when it has answered, while others work', { reads: 'worker', per_second: 600, after: true }, (right) => right['thread'] === 100],
  ['or mostly while nobody works', { reads: 'worker', per_second: 60, after: true }, (right) => right['thread'] === 100],
  ['one reads, others work', { reads: 'reactor', per_second: 600 }, (right) => right['responder'] === 100],
  ['those that work read too', { reads: 'either', per_second: 600 }, (right) => (right['thread'] ?? 0) > 35 && (right['responder'] ?? 0) > 35],
  ['or few at a time', { reads: 'either', per_second: 60 }, (right) => (right['thread'] ?? 0) > 35],
])('ordinary threads are as sure as before: %s', async (_name, load, expected) => {
  const { right, wrong, without } = await judged(sharedThreads({ threads: 8, requests: 100, answers: 'worker', ...load }));
  expect([wrong, sum(right), without]).toEqual([{}, 100, load.after === true ? 100 : 0]);
  expect(right).toSatisfy(expected);
});

test('what threads were seen at is remembered when little goes on', async () => {
  const loops = sharedPoolOfLoops({ threads: 4, requests: 40, per_second: 250 });
  const later = [server('X', 2500, 2520, [1, 1]), server('Y', 2501, 2521, [2, 2]), call('call for X', 2505, 2508, 2)];
  expect((await tell([...loops.told, ...later], loops.moved, { every_ms: 1000 })).links['call for X']).toMatchObject({ parent: null, candidates: ['X', 'Y'] });
  const pool = sharedThreads({ threads: 4, requests: 40, per_second: 250, reads: 'anybody', answers: 'anybody' });
  // It is decided before either has been answered.
  const slow = [server('X', 2500, 4100, [1, 3]), server('Y', 2501, 4101, [2, 4]), call('call for X', 2505, 2508, 2)];
  expect((await tell([...pool.told, ...slow], [], { every_ms: 1000, limits: { decide_limit_ns: 0n } })).links['call for X']).toMatchObject({ parent: null, candidates: ['X', 'Y'] });
});

/** Reset by the client at 5 ms, closed by the server when it is done with it. */
const reset = (closed: Partial<Ended> & { at: number }): Ended[] => [{ on: 'R1', at: 5, by: 'peer' }, { on: 'R1', by: 'process', ...closed }];
const given_up = (threads: readonly [number, number]): Told => server('R1', 0, 15, threads, { unanswered: true });

test('a client that resets its connection does not stop who works for it', async () => {
  const alone = await tell([given_up([1, 1]), call('call', 8, 10, 1)], [], { ends: reset({ at: 15 }) });
  expect(alone.links['call']).toMatchObject({ parent: 'R1', evidence: 'thread', confidence: 1 });
  const threads = await tell([given_up([1, 1]), server('R2', 1, 21, [2, 2]), call('call', 8, 10, 1)], [], { ends: reset({ at: 15 }) });
  expect(threads.links['call']).toMatchObject({ parent: 'R1', evidence: 'thread', confidence: 1 });
  expect((await threads.warehouse.query("SELECT duration_ns // 1000000 FROM spans WHERE kind = 'server' ORDER BY start_time")).rows).toEqual([[15n], [20n]]);
  const loop = await tell([given_up([1, 1]), server('R2', 1, 21, [1, 1]), call('call', 8, 10, 1)], [], { ends: reset({ at: 15 }) });
  expect(loop.links['call']).toMatchObject({ parent: null, candidates: ['R1', 'R2'] });
  const live = await tell([given_up([1, 1]), server('R2', 1, 421, [2, 2]), call('call', 180, 190, 1)], [], { ends: reset({ at: 350 }), every_ms: 100 });
  expect(live.links['call']).toMatchObject({ parent: 'R1', evidence: 'thread', confidence: 1 });
});

test('a worker that gives a request up is not taken to call for the one that it answers next', async () => {
  const told = [given_up([9, 9]), server('R2', 1, 25, [9, 1]), call('call', 8, 10, 1)];
  expect((await tell(told, [], { ends: reset({ at: 15, thread: 1 }) })).links['call']).toMatchObject({ parent: null, candidates: ['R1', 'R2'] });
  // Nor does a close in between mean anything, if it is of a connection of its own.
  const own = [server('R2', 1, 25, [9, 1]), call('R1', 8, 10, 1)];
  expect((await tell(own, [], { ends: [{ on: 'R1', at: 15, by: 'process', thread: 1 }] })).links['R1']).toMatchObject({ parent: 'R2', evidence: 'responder', confidence: 0.99 });
});

test('where the close after a reset is not seen, the thread is taken to be free after a while; a call ends with the reset', async () => {
  const told = [given_up([1, 1]), server('R3', 30, 50, [1, 1]), server('R4', 20_000, 20_050, [1, 1]), call('early', 35, 40, 1), call('late', 20_010, 20_040, 1)];
  const { links, warehouse } = await tell(told, [], { ends: [{ on: 'R1', at: 5, by: 'peer' }] });
  expect(links['early']).toMatchObject({ parent: null, candidates: ['R1', 'R3'] });
  expect(links['late']).toMatchObject({ parent: 'R4', evidence: 'thread', confidence: 1 });
  expect((await warehouse.query("SELECT max(duration_ns) // 1000000 FROM spans WHERE kind = 'server'")).rows).toEqual([[10_005n]]);
  const broken = await tell([server('S', 0, 30, [1, 1]), call('R1', 1, 20, 1, { unanswered: true })], [], { ends: reset({ at: 15 }) });
  expect((await broken.warehouse.query("SELECT duration_ns // 1000000 FROM spans WHERE kind = 'client'")).rows).toEqual([[4n]]);
});

test('a connection made ahead of need says nothing of its first call', async () => {
  const [before, after] = [server('R1', 0, 20, [1, 1]), server('R2', 4990, 5010, [2, 2])];
  const connect = { at: 10, turn: 0, thread: 1 };
  const helper = await tell([before, after, call('call', 5000, 5003, 9, { connect })]);
  expect(helper.links['call']).toMatchObject({ parent: 'R2', evidence: 'open', confidence: 0.95, candidates: ['R1', 'R2'] });
  const other = await tell([before, after, call('call', 5000, 5003, 2, { connect })]);
  expect(other.links['call']).toMatchObject({ parent: 'R2', evidence: 'thread', confidence: 1, candidates: ['R1', 'R2'] });
  const loop = await tell([server('long poll', 0, 10_000, [1, 1]), server('R2', 4990, 5010, [1, 1]), call('call', 5000, 5003, 1, { connect })]);
  expect(loop.links['call']).toMatchObject({ parent: null, candidates: ['R2', 'long poll'] });
  // Of a thread that works on one request all the time, connecting may have taken so long.
  const slow = await tell([server('R1', 0, 5000, [1, 1]), call('call', 3010, 3020, 1, { connect })]);
  expect(slow.links['call']).toMatchObject({ parent: 'R1', evidence: 'thread', confidence: 1 });
  expect((await slow.warehouse.query("SELECT duration_ns // 1000000 FROM spans WHERE kind = 'client'")).rows).toEqual([[3010n]]);
});

test('a call that a single loop has made for another one looks like its own: nothing but habit tells', async () => {
  const { links } = await tell([server('R1', 0, 20, [1, 1]), server('R2', 1, 21, [2, 2]), call('call for R1', 5, 8, 2)]);
  expect(links['call for R1']).toMatchObject({ parent: 'R2', evidence: 'thread', confidence: 1 });
});

test('a close that comes a minute after the reset: history says of the span what was said live', async () => {
  const { warehouse } = await tell([{ name: 'R1', kind: 'server', from: 0, to: 15, threads: [1, 1], unanswered: true }], [], { every_ms: 8000, ends: [{ on: 'R1', at: 5, by: 'peer' }, { on: 'R1', at: 40_000, by: 'process', thread: 1 }] });
  const took = async (): Promise<unknown> => (await warehouse.query("SELECT duration_ns // 1000000 FROM spans WHERE kind = 'server'")).rows;
  const live = await took();
  await recorrelate(warehouse, { from_ns: 0n, to_ns: 1n << 62n });
  expect([live, await took()]).toEqual([[[10_005n]], [[10_005n]]]);
});
