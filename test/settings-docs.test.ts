import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SETTINGS, parseBytes, parseTime, type Setting } from '../main/settings.ts';
import { packageRoot } from '../schema/package-root.ts';

const docs = readFileSync(join(packageRoot(), 'docs', 'settings.md'), 'utf8');

test.each(Object.entries(SETTINGS) as [string, Setting][])('docs/settings.md has %s as the command line has it', (name, setting) => {
  const line = docs.split('\n').find((text) => text.startsWith(`| \`${setting.flags}\` |`));
  expect(line, `no row for ${setting.flags}`).toBeDefined();
  expect(line).toContain(setting.help);
  if (setting.fallback !== undefined && setting.fallback !== false && name !== 'node') expect(line).toContain(`| ${String(setting.fallback)} |`);
});

test('docs/settings.md has no setting that is gone', () => {
  const flags = new Set<string>(Object.values(SETTINGS).map((setting) => setting.flags));
  const rows = [...docs.matchAll(/^\| `(--[^`]+)` \|/gm)].map((match) => match[1] ?? '');
  expect(rows.filter((row) => !flags.has(row))).toEqual([]);
});

test('sizes and times are read as people write them', () => {
  expect(parseBytes('32MiB')).toBe(33_554_432);
  expect(parseBytes('1 GB')).toBe(1e9);
  expect(() => parseBytes('many')).toThrow('no size');
  expect(parseTime('2h', 10_000_000)).toBe(2_800_000_000_000n);
  expect(parseTime('2026-01-31T12:00:00Z')).toBe(1_769_860_800_000_000_000n);
  // As everything that is printed: UTC, to the nanosecond.
  for (const text of ['2026-01-31T12:00', '2026-01-31 12:00', '2026-01-31T12:00Z', '2026-01-31T12:00:00', '2026-01-31 12:00:00', '2026-01-31 12:00:00 UTC', '2026-01-31T13:00:00+01:00', '1769860800000000000']) expect(parseTime(text)).toBe(1_769_860_800_000_000_000n);
  expect(parseTime('2026-01-31 12:00:00.123456789 UTC')).toBe(1_769_860_800_123_456_789n);
  expect(parseTime('2026-01-31')).toBe(1_769_817_600_000_000_000n);
  for (const text of ['yesterday-ish', '20260131', '2026']) expect(() => parseTime(text)).toThrow('no time');
});

test('--param gathers names and values', () => {
  const parse = SETTINGS.param.parse;
  expect(parse('where=a=b', parse('service=shop', undefined))).toEqual({ service: 'shop', where: 'a=b' });
  expect(parse('service=', undefined)).toEqual({ service: '' });
  expect(() => parse('service', undefined)).toThrow('gives no parameter a value');
});
