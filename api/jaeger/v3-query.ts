// The parameters of Jaeger's API v3. Their names are those of its JSON (query.serviceName); releases before 2.19, and Grafana, write
// query.service_name: both are read.
import { Type } from 'typebox';
import type { TSchema } from 'typebox';
import { TracehouseError } from '../../schema/errors.ts';
import { ClientError } from '../client-error.ts';
import { needed, text } from '../foreign-api.ts';
import type { SpanMatch } from '../lookups/matching-traces.ts';
import { allOf, oneOf } from '../query-text.ts';
import { parseTime } from '../time-text.ts';
import { countOf, duration, spanConditions, tagsOf } from './trace-query.ts';

const DEFAULT_DEPTH = 100;

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** For schema.querystring. */
export function inBothSpellings(parameters: Readonly<Record<string, TSchema>>) {
  const former = Object.entries(parameters).map(([name, schema]): [string, TSchema] => [snakeCase(name), Type.Optional(Type.String({ ...schema, description: `former name of ${name}`, deprecated: true }))]);
  return Type.Object({ ...Object.fromEntries(former), ...parameters });
}

/** Under which name it was given. */
function spelling(query: unknown, name: string): string {
  return oneOf(query, name) === undefined && oneOf(query, snakeCase(name)) !== undefined ? snakeCase(name) : name;
}

export const given = (query: unknown, name: string): string | undefined => oneOf(query, spelling(query, name));

/** An unescaped + of an offset arrives as a space. */
export function time(query: unknown, name: string, now_ns: bigint): bigint | undefined {
  const [called, value] = [spelling(query, name), given(query, name)];
  if (value === undefined) return undefined;
  try {
    return parseTime(called, value, now_ns);
  } catch (error) {
    if (error instanceof TracehouseError) throw new ClientError(400, `malformed parameter ${called}: parsing time "${value}": ${error.mend ?? ''}`);
    throw error;
  }
}

export const Search = Type.Object({
  'query.num_traces': text('oldest name of query.searchDepth', '20'),
  ...inBothSpellings({
    'query.serviceName': text('service of the span that is looked for', 'shop'),
    'query.operationName': text('its name', 'GET /orders/{id}'),
    'query.startTimeMin': needed('it starts at or after, RFC 3339', '2020-01-31T12:00:00+01:00'),
    'query.startTimeMax': needed('it starts before, RFC 3339', '2200-01-01T00:00:00Z'),
    'query.durationMin': text('it took at least: 1.2ms, 1m30s', '1us'),
    'query.durationMax': text('it took at most', '1h'),
    'query.searchDepth': text('traces, newest first', '20'),
    'query.rawTraces': text('ignored: traces are never adjusted', 'true'),
  }).properties,
  'query.attributes': text('its attributes, a JSON object of texts', '{"http.request.method":"GET"}'),
});

/** What is asked for in ways that are not read here, by the newest clients only: an answer without it would be too large, and wrong. */
const NOT_READ = ['query.filter', 'query.pagination.pageSize', 'query.pagination.page_size', 'query.pagination.pageToken', 'query.pagination.page_token'];

export function searchOf(query: unknown, now_ns: bigint): SpanMatch {
  const refused = NOT_READ.find((name) => oneOf(query, name) !== undefined);
  if (refused !== undefined) throw new ClientError(400, `parameter ${refused} is not supported`);
  const [start_ns, end_ns] = [time(query, 'query.startTimeMin', now_ns), time(query, 'query.startTimeMax', now_ns)];
  if (start_ns === undefined || end_ns === undefined) throw new ClientError(400, 'query.startTimeMin and query.startTimeMax are required');
  const depth = given(query, 'query.searchDepth') === undefined ? 'query.num_traces' : spelling(query, 'query.searchDepth');
  const lasting = (name: string): bigint | undefined => {
    const called = spelling(query, name);
    return duration(query, called, (problem) => `malformed parameter ${called}: ${problem}`);
  };
  return {
    range: { start_ns, end_ns },
    limit: countOf(oneOf(query, depth), depth, DEFAULT_DEPTH),
    conditions: spanConditions({
      service: given(query, 'query.serviceName'),
      operation: given(query, 'query.operationName'),
      tags: allOf(query, 'query.attributes').flatMap(tagsOf),
      min_ns: lasting('query.durationMin'),
      max_ns: lasting('query.durationMax'),
    }),
  };
}
