// Which late parts of history are done between two live cycles, which beside them, and which have to wait.
import { expect, test } from 'vitest';
import type { Warehouse } from '../ingest/warehouse.ts';
import { LateHistory } from '../queries/late-history.ts';
import { NOTHING, type ChangeReport } from '../queries/history-changes.ts';
import type { TimeRange } from '../queries/late-ranges.ts';

const SECOND = 1_000_000_000n;

interface Stored {
  readonly from: number;
  readonly to: number;
  readonly spans: number;
}

/** Segments by second; cycles have decided up to second 200, and have nothing to do with what ended by second 140. */
function history(stored: readonly Stored[]) {
  const segments = stored.map(({ from, to, spans }) => ({ uid: `${from}`, id: `${from}`, from_ns: BigInt(from) * SECOND, to_ns: BigInt(to) * SECOND, rows: new Map([['spans', spans]]) }));
  const noted: (TimeRange | null)[] = [];
  const warehouse = {
    segments,
    derivedSegments: (from_ns: bigint, to_ns: bigint) => segments.filter((segment) => segment.from_ns < to_ns && segment.to_ns >= from_ns),
    noteLate: (range: TimeRange | null) => Promise.resolve(void noted.push(range)),
  };
  const done: string[] = [];
  const seconds = (what: string, { from_ns, to_ns }: TimeRange): string => `${what} ${from_ns / SECOND} to ${to_ns / SECOND}`;
  const clock = { ms: 0 };
  const said: string[] = [];
  let ended: () => void = () => undefined;
  const late = new LateHistory(warehouse as unknown as Warehouse, {
    now_ms: () => clock.ms,
    pause_ms: 5000,
    log: (line) => said.push(line),
    redo: (range, stopped) => Promise.resolve(NOTHING).finally(() => done.push(seconds(stopped === undefined ? 'between' : 'between, unless it is stopped,', range))),
    redoBeside: (range, stopped) => {
      done.push(seconds('beside', range));
      return new Promise<ChangeReport>((resolve, reject) => {
        ended = () => resolve(NOTHING);
        stopped.addEventListener('abort', () => reject(new Error('stopped')));
      });
    },
    cut_ns: () => 200n * SECOND,
    settled_ns: () => 140n * SECOND,
  });
  const comesLate = (from: number, to: number): Promise<void> => late.add([{ from_ns: BigInt(from) * SECOND, to_ns: BigInt(to) * SECOND }]);
  return { late, comesLate, done, clock, noted, said, segments, end: async () => (ended(), late.beside) };
}

test.each<[string, Stored, string[]]>([
  ['few spans: between two cycles', { from: 10, to: 20, spans: 20_000 }, ['between 11 to 12']],
  ['few spans, and cycles are still at them: the same', { from: 10, to: 141, spans: 20_000 }, ['between 11 to 12']],
  ['many, settled: beside', { from: 10, to: 140, spans: 20_001 }, ['beside 11 to 12']],
  ['more than a second of work, and cycles are still at them: between all the same', { from: 10, to: 141, spans: 200_000 }, ['between 11 to 12']],
  ['so many that cycles would stand still for long: later', { from: 10, to: 141, spans: 200_001 }, []],
])('%s', async (_what, stored, expected) => {
  const { late, comesLate, done, noted } = history([stored]);
  await comesLate(11, 12);
  await late.redo();
  expect(done).toEqual(expected);
  expect(noted.at(-1) === null).toBe(expected[0]?.startsWith('between') ?? false);
});

test('what has to wait is looked at again after the pause', async () => {
  const { late, comesLate, done, clock, segments } = history([{ from: 10, to: 141, spans: 1_000_000 }]);
  await comesLate(11, 12);
  await late.redo();
  segments[0] = { ...(segments[0] as (typeof segments)[0]), to_ns: 140n * SECOND };
  clock.ms = 4999;
  await late.redo();
  expect(done).toEqual([]);
  clock.ms = 5000;
  await late.redo();
  expect(done).toEqual(['beside 11 to 12']);
});

test('nothing waits for cycles that have stood still for a minute: no collector speaks any more', async () => {
  const { late, comesLate, done, clock } = history([{ from: 10, to: 141, spans: 1_000_000 }]);
  await comesLate(11, 12);
  await late.redo();
  clock.ms = 59_999;
  await late.redo();
  expect(done).toEqual([]);
  clock.ms = 65_000;
  await late.redo();
  expect(done).toEqual(['between, unless it is stopped, 11 to 12']);
});

test('one part at a time, and none while others are at history', async () => {
  const { late, comesLate, done, clock, noted, end } = history([{ from: 10, to: 20, spans: 1_000_000 }, { from: 20, to: 30, spans: 10 }]);
  await comesLate(11, 25);
  await late.pausing({ from_ns: 0n, to_ns: 1n }, () => late.redo());
  expect(done).toEqual([]);
  await late.redo();
  clock.ms = 10_000;
  await late.redo();
  expect(done).toEqual(['beside 11 to 20']);
  await end();
  expect(noted.at(-1)).not.toBeNull(); // the rest
  clock.ms = 110_000; // a tenth of the time
  await late.redo();
  expect(done).toEqual(['beside 11 to 20', 'between 20 to 25']);
  expect(noted.at(-1)).toBeNull();
});

test('a part of it that was put together with newer rows meanwhile is left for later', async () => {
  const { late, comesLate, done, clock, noted, segments, end } = history([{ from: 10, to: 20, spans: 1_000_000 }]);
  await comesLate(11, 12);
  await late.redo();
  segments[0] = { ...(segments[0] as (typeof segments)[0]), to_ns: 150n * SECOND };
  await end();
  expect(noted.at(-1)).not.toBeNull();
  segments[0] = { ...segments[0], to_ns: 140n * SECOND };
  clock.ms = 1e9;
  await late.redo();
  await end();
  expect(done).toEqual(['beside 11 to 12', 'beside 11 to 12']);
  expect(noted.at(-1)).toBeNull();
});

test('at the end of a process that does not wait, a large part is stopped and stays noted for the next one', async () => {
  const { late, comesLate, done, noted, said } = history([{ from: 10, to: 20, spans: 1_000_000 }]);
  await comesLate(11, 12);
  await late.redo();
  late.stop();
  await late.redo();
  await late.finish();
  expect(done).toEqual(['beside 11 to 12']);
  expect(noted.at(-1)).not.toBeNull();
  expect(said).toEqual(['late events: what they change is correlated again after the next start']);
});

test('at the end of one that waits, all is done', async () => {
  const { late, comesLate, done, noted, end } = history([{ from: 10, to: 20, spans: 1_000_000 }]);
  await comesLate(11, 12);
  await late.redo();
  await comesLate(13, 14);
  const finished = late.finish();
  await end();
  await finished;
  expect(done).toEqual(['beside 11 to 12', 'between 13 to 14']);
  expect(noted.at(-1)).toBeNull();
});
