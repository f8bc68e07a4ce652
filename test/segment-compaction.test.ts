import { expect, test } from 'vitest';
import type { Segment } from '../ingest/segment-catalog.ts';
import { COMPACTION_LIMITS, DAY_NS, HOUR_NS, planCompaction } from '../ingest/segment-compaction.ts';

const SECOND_NS = 1_000_000_000n;
const LIMITS = { small: 12, minutes: 60, hours: 72, idle_ms: 60_000 };

function segment(level: number, from_ns: bigint, to_ns: bigint): Segment {
  return { kind: 'raw', uid: `${level}-${from_ns}`, level, state: 'sealed', alias: '', path: '', from_ns, to_ns, rows: new Map(), bytes: 0, last_apply_no: null, born_ms: 0 };
}

const row = (level: number, count: number, start_ns: bigint, step_ns: bigint): Segment[] =>
  Array.from({ length: count }, (_, i) => segment(level, start_ns + BigInt(i) * step_ns, start_ns + BigInt(i + 1) * step_ns - 1n));

const now = (ns: bigint): number => Number(ns / 1_000_000n);
const NOON = 20_000n * DAY_NS + 12n * HOUR_NS;

test('a dozen small ones become a minute', () => {
  expect(planCompaction(row(0, 11, NOON, 5n * SECOND_NS), now(NOON + HOUR_NS / 2n), { limits: LIMITS })).toBeNull();
  const plan = planCompaction(row(0, 12, NOON, 5n * SECOND_NS), now(NOON + HOUR_NS / 2n), { limits: LIMITS });
  expect([plan?.level, plan?.inputs.length]).toEqual([1, 12]);
});

test('fewer small ones become one, too, when they hold many rows', () => {
  const limits = { ...LIMITS, small_rows: 1000 };
  const holding = (rows: number): Segment[] => row(0, 5, NOON, 5n * SECOND_NS).map((s) => ({ ...s, rows: new Map([['messages', rows], ['socket_events', rows]]) }));
  expect(planCompaction(holding(99), now(NOON + HOUR_NS / 2n), { limits })).toBeNull();
  expect(planCompaction(holding(100), now(NOON + HOUR_NS / 2n), { limits })?.inputs.length).toBe(5);
  expect(planCompaction(holding(100), now(NOON + HOUR_NS / 2n), { limits: LIMITS })).toBeNull();
});

test('what is still to be read stays, alone and in an hour that is over, and nothing is put together around it for good', () => {
  const small = row(0, 30, NOON, 5n * SECOND_NS).map((s) => ({ ...s, bytes: 20_000_000 }));
  const waits = (segment: Segment): boolean => segment.from_ns >= NOON + 65n * SECOND_NS;
  const plan = planCompaction(small, now(NOON + HOUR_NS / 2n), { limits: LIMITS, waits });
  expect([plan?.level, plan?.inputs.length]).toEqual([1, 13]);
  const later = [segment(1, NOON, NOON + 65n * SECOND_NS - 1n), ...small.slice(10)];
  const over = now(NOON + 2n * HOUR_NS);
  expect(planCompaction(later, over, { limits: LIMITS, waits })).toBeNull();
  expect(planCompaction(later.slice(-1), over, { limits: LIMITS, waits })).toBeNull();
  expect(planCompaction(later, over, { limits: LIMITS })?.level).toBe(1);
});

test('only neighbours are put together, so that no range swallows another', () => {
  const small = row(0, 16, NOON, 5n * SECOND_NS);
  const bigger = segment(1, small[7]!.from_ns, small[7]!.to_ns);
  const plan = planCompaction([...small.slice(0, 7), bigger, ...small.slice(8)], now(NOON + HOUR_NS / 2n), { limits: LIMITS });
  expect(plan).toBeNull();
  const longer = row(0, 30, NOON, 5n * SECOND_NS);
  const with_gap = [...longer.slice(0, 7), segment(1, longer[7]!.from_ns, longer[7]!.to_ns), ...longer.slice(8)];
  expect(planCompaction(with_gap, now(NOON + HOUR_NS / 2n), { limits: LIMITS })?.inputs[0]?.from_ns).toBe(longer[8]!.from_ns);
});

test('an hour that is over becomes one file, once nothing more of it comes', () => {
  const minutes = row(1, 59, NOON, 60n * SECOND_NS);
  const late = { ...segment(0, NOON + 59n * 60n * SECOND_NS, NOON + HOUR_NS - 1n), born_ms: now(NOON + HOUR_NS + 150n * SECOND_NS) };
  expect(planCompaction([...minutes, late], now(NOON + HOUR_NS - 1n), { limits: LIMITS })).toBeNull();
  expect(planCompaction([...minutes, late], now(NOON + HOUR_NS + 180n * SECOND_NS), { limits: LIMITS })).toBeNull();
  const plan = planCompaction([...minutes, late], now(NOON + HOUR_NS + 400n * SECOND_NS), { limits: LIMITS });
  expect([plan?.level, plan?.inputs.length]).toEqual([2, 60]);
  expect(planCompaction([segment(2, NOON, NOON + HOUR_NS - 1n)], now(NOON + 5n * HOUR_NS), { limits: LIMITS })).toBeNull();
});

test('files of different hours stay apart', () => {
  const plan = planCompaction(row(1, 4, NOON, HOUR_NS / 2n), now(NOON + 9n * HOUR_NS), { limits: LIMITS });
  expect(plan?.inputs.map((input) => input.from_ns)).toEqual([NOON, NOON + HOUR_NS / 2n]);
});

test('a file that is alone in its hour is packed when that is over, if there is something in it', () => {
  const big = { ...segment(0, NOON, NOON + SECOND_NS), bytes: 20_000_000 };
  expect(planCompaction([big], now(NOON + HOUR_NS - 1n), { limits: LIMITS })).toBeNull();
  expect(planCompaction([big], now(NOON + 2n * HOUR_NS), { limits: LIMITS })).toEqual({ inputs: [big], level: 2 });
  expect(planCompaction([{ ...big, level: 1 }], now(NOON + 2n * HOUR_NS), { limits: LIMITS })).toBeNull();
  expect(planCompaction([{ ...big, bytes: 1_000_000 }], now(NOON + 2n * HOUR_NS), { limits: LIMITS })).toBeNull();
  expect(planCompaction([{ ...big, born_ms: now(NOON + 2n * HOUR_NS) }], now(NOON + 2n * HOUR_NS), { limits: LIMITS })).toBeNull();
});

test('hours become days only when there are very many of them, and only days long past', () => {
  const midnight = 20_000n * DAY_NS;
  expect(planCompaction(row(2, 72, midnight, HOUR_NS), now(midnight + 10n * DAY_NS), { limits: LIMITS })).toBeNull();
  const plan = planCompaction(row(2, 73, midnight, HOUR_NS), now(midnight + 4n * DAY_NS), { limits: LIMITS });
  expect([plan?.level, plan?.inputs.length, plan?.inputs[0]?.from_ns]).toEqual([3, 24, midnight]);
});

test('attached files stay few however long it runs', () => {
  // Four days of segments of 5 s, each compaction carried out as planned.
  let segments: Segment[] = [];
  let most = 0;
  const start = 20_000n * DAY_NS;
  for (let i = 0n; i < 17_280n * 4n; i++) {
    const at = start + i * 5n * SECOND_NS;
    segments.push({ ...segment(0, at, at + 5n * SECOND_NS - 1n), born_ms: now(at) });
    if (i % 12n !== 0n) continue;
    for (let plan = planCompaction(segments, now(at), { limits: COMPACTION_LIMITS }); plan !== null; plan = planCompaction(segments, now(at), { limits: COMPACTION_LIMITS })) {
      const { inputs, level } = plan;
      const merged = { ...segment(level, inputs[0]!.from_ns, inputs.at(-1)!.to_ns), born_ms: now(at) };
      segments = [...segments.filter((other) => !inputs.includes(other)), merged];
    }
    most = Math.max(most, segments.length);
  }
  expect(most).toBeLessThan(120);
});
