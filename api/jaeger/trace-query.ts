// The parameters of Jaeger's trace search, as its query service reads them.
import type { RawBuilder } from 'kysely';
import { sql } from 'kysely';
import { ClientError } from '../client-error.ts';
import type { SpanMatch } from '../lookups/matching-traces.ts';
import { hasTag, ofService } from '../lookups/span-fields.ts';
import { allOf, badDuration, goDuration, oneOf, wholeTraceId } from '../query-text.ts';

/** Jaeger's own. */
const DEFAULT_LIMIT = 100;
const DEFAULT_LOOKBACK_NS = 48n * 3_600_000_000_000n;
const MOST_TRACES = 10_000;
/** A millisecond before the last instant that is stored: an end may still be moved by one microsecond. */
const LAST_NS = 2n ** 63n - 1_000_001n;

const refuse = (message: string): never => {
  throw new ClientError(400, message);
};

export function unixTime(query: unknown, name: string, unit_ns: bigint): bigint | undefined {
  const text = oneOf(query, name);
  if (text === undefined) return undefined;
  if (!/^-?\d{1,19}$/.test(text)) return refuse(`unable to parse param '${name}': strconv.ParseInt: parsing "${text}": invalid syntax`);
  const ns = BigInt(text) * unit_ns;
  return ns > LAST_NS ? LAST_NS : ns < 0n ? 0n : ns;
}

export function duration(query: unknown, name: string, say: (problem: string) => string): bigint | undefined {
  const text = oneOf(query, name);
  if (text === undefined) return undefined;
  return goDuration(text) ?? refuse(say(badDuration(text)));
}

export function countOf(text: string | undefined, name: string, fallback: number): number {
  if (text === undefined) return fallback;
  if (!/^[-+]?\d{1,9}$/.test(text)) return refuse(`malformed parameter ${name}: strconv.Atoi: parsing "${text}": invalid syntax`);
  const limit = Number(text);
  if (limit <= 0) return refuse(`invalid parameter: ${name} must be greater than 0`);
  return limit > MOST_TRACES ? refuse(`invalid parameter: ${name} must not be greater than ${MOST_TRACES}`) : limit;
}

/** A JSON object of texts. */
export function tagsOf(text: string): [string, string][] {
  let tags: unknown;
  try {
    tags = JSON.parse(text);
  } catch (error) {
    return refuse(`malformed 'tags' parameter, cannot unmarshal JSON: ${(error as Error).message}`);
  }
  if (typeof tags !== 'object' || tags === null || Array.isArray(tags)) return refuse("malformed 'tags' parameter, cannot unmarshal JSON: it is no object of texts");
  return Object.entries(tags).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]);
}

function simpleTag(text: string): [string, string] {
  const at = text.indexOf(':');
  return at < 0 ? refuse(`malformed 'tag' parameter, expecting key:value, received: ${text}`) : [text.slice(0, at), text.slice(at + 1)];
}

export interface SpanFilters {
  readonly service: string | undefined;
  readonly operation: string | undefined;
  readonly tags: readonly (readonly [string, string])[];
  readonly min_ns: bigint | undefined;
  readonly max_ns: bigint | undefined;
}

/** Durations are of the span, as in Jaeger. */
export function spanConditions({ service, operation, tags, min_ns, max_ns }: SpanFilters): RawBuilder<boolean>[] {
  return [
    ...(service === undefined ? [] : [ofService(service)]),
    ...(operation === undefined ? [] : [sql<boolean>`span_name = ${operation}`]),
    ...(min_ns === undefined ? [] : [sql<boolean>`duration_ns >= ${min_ns}`]),
    ...(max_ns === undefined || max_ns === 0n ? [] : [sql<boolean>`duration_ns <= ${max_ns}`]),
    ...tags.map(([key, value]) => hasTag(key, value)),
  ];
}

export interface TraceQuery {
  /** Asked for by id: everything else says nothing then. */
  readonly trace_ids: readonly string[];
  readonly match: SpanMatch;
}

export function traceQuery(query: unknown, now_ns: bigint): TraceQuery {
  const range = { start_ns: unixTime(query, 'start', 1000n) ?? now_ns - DEFAULT_LOOKBACK_NS, end_ns: (unixTime(query, 'end', 1000n) ?? now_ns) + 1000n };
  const tags = [...allOf(query, 'tag').map(simpleTag), ...allOf(query, 'tags').flatMap(tagsOf)];
  const limit = countOf(oneOf(query, 'limit'), 'limit', DEFAULT_LIMIT);
  const told = (name: string) => (problem: string) => `unable to parse param '${name}': ${problem}`;
  const [min_ns, max_ns] = [duration(query, 'minDuration', told('minDuration')), duration(query, 'maxDuration', told('maxDuration'))];
  const trace_ids = allOf(query, 'traceID').map((text) => {
    try {
      return wholeTraceId(text);
    } catch (error) {
      return refuse(`cannot parse traceID param: ${(error as Error).message}`);
    }
  });
  const service = oneOf(query, 'service');
  if (trace_ids.length === 0 && service === undefined) return refuse("parameter 'service' is required");
  if (range.start_ns > range.end_ns) return refuse('invalid parameter: start time must be before end time');
  if (min_ns !== undefined && max_ns !== undefined && max_ns !== 0n && max_ns < min_ns) return refuse("'maxDuration' should be greater than 'minDuration'");
  return { trace_ids, match: { range, limit, conditions: spanConditions({ service, operation: oneOf(query, 'operation'), tags, min_ns, max_ns }) } };
}
