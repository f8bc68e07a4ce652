// Times and durations as people and programs write them, to the nanosecond.
import { TracehouseError } from '../schema/errors.ts';

/** TIMESTAMP_NS holds 63 bits: up to the year 2262. */
const LAST_NS = 2n ** 63n - 1n;

const UNITS_NS = { ns: 1n, us: 1_000n, µs: 1_000n, ms: 1_000_000n, s: 1_000_000_000n, m: 60_000_000_000n, h: 3_600_000_000_000n, d: 86_400_000_000_000n } as const;

const RFC_3339 = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+ -]\d{2}:?\d{2})$/;

/** '1.5' and 1000000000n -> 1500000000n, without a double in between. */
function decimalTimes(text: string, unit: bigint): bigint {
  const [whole = '', fraction = ''] = text.split('.');
  return BigInt(whole === '' ? '0' : whole) * unit + (BigInt(fraction.padEnd(18, '0').slice(0, 18)) * unit) / 10n ** 18n;
}

/**
 * RFC 3339 with up to nine decimals, '15m' (that long ago), or nanoseconds since 1970.
 * An unescaped + of an offset arrives as a space.
 */
export function parseTime(name: string, text: string, now_ns: bigint): bigint {
  const ago = /^(\d{1,9})(s|m|h|d)$/.exec(text);
  let time_ns: bigint | undefined;
  if (ago !== null) time_ns = now_ns - BigInt(ago[1] as string) * UNITS_NS[ago[2] as 's' | 'm' | 'h' | 'd'];
  else if (/^\d{1,19}$/.test(text)) time_ns = BigInt(text);
  else {
    const [, day, clock, fraction = '', zone = ''] = RFC_3339.exec(text) ?? [];
    const ms = Date.parse(`${day}T${clock}${zone.replace(' ', '+').toUpperCase()}`);
    if (!Number.isNaN(ms)) time_ns = BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
  }
  if (time_ns === undefined || time_ns > LAST_NS || time_ns < 0n) {
    throw new TracehouseError('invalid-time', `${name}: '${text}' is no time`, { mend: 'write 2026-01-31T12:00:00Z, or 15m for that long ago, or nanoseconds since 1970' });
  }
  return time_ns;
}

/** '250ms', '1.5s', '2m'; a bare number is nanoseconds. */
export function parseDuration(name: string, text: string): bigint {
  const match = /^(\d{0,19}(?:\.\d{1,18})?)(ns|us|µs|ms|s|m|h|d)?$/.exec(text);
  if (match === null || match[1] === '' || (match[2] === undefined && text.includes('.'))) {
    throw new TracehouseError('invalid-duration', `${name}: '${text}' is no duration`, { mend: 'write 250ms, 1.5s, 2m, or nanoseconds' });
  }
  const duration_ns = decimalTimes(match[1] as string, UNITS_NS[(match[2] ?? 'ns') as keyof typeof UNITS_NS]);
  return duration_ns > LAST_NS ? LAST_NS : duration_ns;
}

/** 2026-01-31T12:00:00.123456789Z */
export function rfc3339(ns: bigint): string {
  const seconds = ns / 1_000_000_000n - (ns < 0n && ns % 1_000_000_000n !== 0n ? 1n : 0n);
  const fraction = ns - seconds * 1_000_000_000n;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, -5)}.${String(fraction).padStart(9, '0')}Z`;
}

export const rfc3339Ms = (ms: number): string => rfc3339(BigInt(Math.floor(ms)) * 1_000_000n);
