import { describe, expect, test } from 'vitest';
import { windowsOfRows } from '../ingest/row-windows.ts';
import type { SpreadRows } from '../ingest/row-windows.ts';

const HOUR = 3_600_000_000_000n;
const hour = (at: number, rows: number): SpreadRows => ({ rows, ranges: [{ from_ns: BigInt(at) * HOUR, to_ns: BigInt(at + 1) * HOUR - 1n }] });
const hours = (windows: readonly { from_ns: bigint; to_ns: bigint }[]): [number, number][] => windows.map(({ from_ns, to_ns }) => [Number(from_ns) / Number(HOUR), Number(to_ns + 1n) / Number(HOUR)]);

describe('a long time in pieces', () => {
  test('of about so many rows each', () => {
    const windows = hours(windowsOfRows(Array.from({ length: 10 }, (_, at) => hour(at, 100)), { from_ns: 0n, to_ns: 10n * HOUR - 1n }, 250));
    expect(windows.map(([from, to]) => [Number(from.toFixed(6)), Number(to.toFixed(6))])).toEqual([[0, 2.5], [2.5, 5], [5, 7.5], [7.5, 10]]);
  });

  test('as one where that is little, and where nothing is known', () => {
    expect(hours(windowsOfRows([hour(3, 100)], { from_ns: 0n, to_ns: 10n * HOUR - 1n }, 250))).toEqual([[0, 10]]);
    expect(hours(windowsOfRows([], { from_ns: 0n, to_ns: HOUR - 1n }, 250))).toEqual([[0, 1]]);
  });

  test('cut where the rows are: a crowded hour more often than a quiet one, and what lies outside counts for nothing', () => {
    const windows = hours(windowsOfRows([hour(0, 1e9), hour(1, 10), hour(2, 1000), hour(3, 10), hour(4, 1e9)], { from_ns: HOUR, to_ns: 4n * HOUR - 1n }, 300));
    expect(windows.length).toBe(4);
    for (const [from, to] of windows.slice(0, 3)) expect(to - from).toBeLessThan(1.5);
    expect(windows[0]?.[0]).toBe(1);
    expect(windows.at(-1)?.[1]).toBe(4);
  });

  test('one after the other, without gaps, whatever the files are', () => {
    const files: SpreadRows[] = [hour(0, 5000), { rows: 7777, ranges: [{ from_ns: 5n, to_ns: 5n }] }, { rows: 900, ranges: [{ from_ns: 3n, to_ns: HOUR }, { from_ns: 2n * HOUR, to_ns: 2n * HOUR + 9n }] }, { rows: 0, ranges: [] }];
    for (const [most, least] of [[1000, 6], [77, 60], [1e6, 1]] as const) {
      const windows = windowsOfRows(files, { from_ns: 2n, to_ns: 3n * HOUR }, most);
      expect(windows.length).toBeGreaterThanOrEqual(least); // also after the instant of many
      expect(windows[0]?.from_ns).toBe(2n);
      expect(windows.at(-1)?.to_ns).toBe(3n * HOUR);
      windows.slice(1).forEach(({ from_ns }, at) => expect(from_ns).toBe((windows[at]?.to_ns as bigint) + 1n));
      for (const { from_ns, to_ns } of windows) expect(to_ns).toBeGreaterThanOrEqual(from_ns);
    }
  });
});
