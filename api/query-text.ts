// Parameters as other tools' clients write them: text, repeated or not.
import { ClientError } from './client-error.ts';

export type RawQuery = Readonly<Record<string, string | string[] | undefined>>;

export function allOf(query: unknown, name: string): string[] {
  const value = (query as RawQuery)[name];
  return (Array.isArray(value) ? value : [value]).filter((text): text is string => text !== undefined && text !== '');
}

/** The first one; empty is as good as absent. */
export const oneOf = (query: unknown, name: string): string | undefined => allOf(query, name)[0];

const UNIT_NS: Readonly<Record<string, bigint>> = { ns: 1n, us: 1000n, µs: 1000n, μs: 1000n, ms: 1_000_000n, s: 1_000_000_000n, m: 60_000_000_000n, h: 3_600_000_000_000n };
const SCALE = 10n ** 12n;

/** '1.2ms', '1h30m', '500us' as Go's time.ParseDuration takes them -> ns; undefined when it would not. */
export function goDuration(text: string): bigint | undefined {
  const sign = text.startsWith('-') ? -1n : 1n;
  const rest = text.replace(/^[-+]/, '');
  if (rest === '0') return 0n;
  if (!/^(?:(?:\d{1,18}(?:\.\d{0,12})?|\.\d{1,12})(?:ns|us|µs|μs|ms|s|m|h))+$/.test(rest)) return undefined;
  const parts = rest.matchAll(/(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/g);
  let scaled_ns = 0n;
  for (const [, whole = '', fraction = '', unit = ''] of parts) scaled_ns += (BigInt(whole === '' ? '0' : whole) * SCALE + BigInt(fraction.padEnd(12, '0'))) * (UNIT_NS[unit] as bigint);
  const ns = (sign * scaled_ns) / SCALE;
  return ns > 2n ** 63n - 1n || ns < -(2n ** 63n) ? undefined : ns;
}

/** Error text of Go's parser. */
export const badDuration = (text: string): string => (/^[-+]?[\d.]+$/.test(text) ? `time: missing unit in duration "${text}"` : `time: invalid duration "${text}"`);

/** An id as clients shorten, pad or capitalise it -> 32 hex digits. Errors as Jaeger tells them. */
export function wholeTraceId(text: string): string {
  if (text.length > 32) throw new ClientError(400, `TraceID cannot be longer than 32 hex characters: ${text}`);
  if (!/^[0-9a-f]+$/i.test(text)) throw new ClientError(400, `strconv.ParseUint: parsing "${text}": invalid syntax`);
  return text.toLowerCase().padStart(32, '0');
}
