// Tempo's search, and the names and values that Grafana's search form offers.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import { Type } from 'typebox';
import type { App } from '../app-type.ts';
import { ClientError } from '../client-error.ts';
import type { RouteContext } from '../dependencies.ts';
import { JSON_TYPE, answers, needed, sendJson, text } from '../foreign-api.ts';
import { badDuration, goDuration, oneOf } from '../query-text.ts';
import type { SearchRange } from '../search-range.ts';
import { searchAnswer } from './search-answer.ts';
import { tagConditions } from './tag-search.ts';
import { listTags, tagValues, tagValuesV2 } from './tags.ts';
import { comparison } from './traceql-comparison.ts';
import { parseSelector } from './traceql.ts';
import type { Selector } from './traceql.ts';

const SECOND_NS = 1_000_000_000n;
const RANGE = { start: text('start of the range, seconds since 1970; left out: the oldest that is stored', '1700000000'), end: text('end of the range, seconds since 1970; left out: now', '7258118400') };
const Search = Type.Object({
  q: text('TraceQL, one selector: conditions on a span with && || and brackets', '{ resource.service.name = "shop" && duration > 1us }'),
  tags: text('instead of q: attributes in logfmt, parts of their values', 'service.name=shop'),
  minDuration: text('with tags: the trace took at least', '1us'),
  maxDuration: text('with tags: the trace took at most', '1h'),
  limit: text('traces, newest first; left out: 20', '10'),
  spss: text('spans to show of each; left out: 3', '3'),
  ...RANGE,
});
const Tags = { scope: text('only these: resource, span or intrinsic', 'span'), limit: text('at most so many', '1000'), ...RANGE };
const Values = { q: text('only of spans that meet this selector; ignored when it is not understood', '{ kind = server }'), limit: text('at most so many', '1000'), ...RANGE };
const Tag = Type.Object({ tag: needed('name of an attribute; in v2 also of a TraceQL field', 'service.name') });
const bad = answers('text/plain', 'a parameter is not understood, or not supported', Type.String());

function whole(query: unknown, name: string, fallback: number, most: number): number {
  const given = oneOf(query, name);
  if (given === undefined) return fallback;
  if (!/^\d{1,9}$/.test(given) || Number(given) === 0) throw new ClientError(400, `invalid ${name}: must be a positive number`);
  return Math.min(Number(given), most);
}

function seconds(query: unknown, name: string): bigint | undefined {
  const given = oneOf(query, name);
  if (given === undefined) return undefined;
  if (!/^\d{1,10}$/.test(given)) throw new ClientError(400, `invalid ${name}: '${given}' is not in seconds since 1970`);
  return BigInt(given) * SECOND_NS > 2n ** 63n - 1n ? 2n ** 63n - 1n : BigInt(given) * SECOND_NS;
}

function rangeOf(query: unknown, now_ns: bigint, default_start_ns: bigint): SearchRange {
  const range = { start_ns: seconds(query, 'start') ?? default_start_ns, end_ns: seconds(query, 'end') ?? now_ns };
  if (range.start_ns > range.end_ns) throw new ClientError(400, 'http parameter start must be before end');
  return range;
}

export function tempoSearchRoutes(app: App, { db, warehouse, whole: complete, now_ns }: RouteContext): void {
  const describe = (operationId: string, summary: string) => ({ operationId, summary, tags: ['tempo'] });

  /** Only the database knows its regular expressions. */
  async function checked({ condition, patterns }: Selector): Promise<Selector['condition']> {
    for (const pattern of patterns) await sql`SELECT regexp_full_match('', ${pattern})`.execute(db).catch(() => {
      throw new ClientError(400, `invalid TraceQL query: ${pattern} is no regular expression`);
    });
    return condition;
  }

  async function conditionsOf(query: unknown, range: SearchRange): Promise<RawBuilder<boolean>[]> {
    const q = oneOf(query, 'q');
    const trace = (name: string, operator: string): RawBuilder<boolean>[] => {
      const duration = oneOf(query, name);
      if (duration !== undefined && goDuration(duration) === undefined) throw new ClientError(400, `invalid ${name}: ${badDuration(duration)}`);
      return duration === undefined ? [] : [comparison('traceDuration', operator, { kind: 'duration', text: duration, at: 0 })(range)];
    };
    if (q !== undefined) return [(await checked(parseSelector(q)))(range)];
    return [...tagConditions(oneOf(query, 'tags') ?? ''), ...trace('minDuration', '>='), ...trace('maxDuration', '<=')];
  }

  app.get('/search', { schema: { ...describe('tempoSearch', 'Find traces'), querystring: Search, response: { 200: answers(JSON_TYPE, 'a line a trace', Type.Object({ traces: Type.Array(Type.Object({ traceID: Type.String() }, { additionalProperties: true })), metrics: Type.Object({}) })), 400: bad } } }, async (request, reply) => {
    const range = rangeOf(request.query, now_ns(), 0n);
    const conditions = await conditionsOf(request.query, range);
    return sendJson(reply, await complete(() => searchAnswer(db, warehouse, { range, conditions, limit: whole(request.query, 'limit', 20, 1000) }, whole(request.query, 'spss', 3, 100))));
  });

  app.get('/search/tags', { schema: { ...describe('tempoTags', 'Names of attributes'), querystring: Type.Object(Tags), response: { 200: answers(JSON_TYPE, 'their names', Type.Object({ tagNames: Type.Array(Type.String()) })), 400: bad } } }, async (request, reply) =>
    sendJson(reply, { tagNames: listTags(oneOf(request.query, 'scope')).filter(({ name }) => name !== 'intrinsic' || oneOf(request.query, 'scope') === 'intrinsic').flatMap(({ tags }) => tags).toSorted() }));

  app.get('/v2/search/tags', { schema: { ...describe('tempoTagsV2', 'Names of attributes, by scope'), querystring: Type.Object({ ...Tags, q: text('ignored: the names are always the same', '{}') }), response: { 200: answers(JSON_TYPE, 'scopes and names', Type.Object({ scopes: Type.Array(Type.Object({ name: Type.String(), tags: Type.Array(Type.String()) })) })), 400: bad } } }, async (request, reply) =>
    sendJson(reply, { scopes: listTags(oneOf(request.query, 'scope')) }));

  app.get('/search/tag/:tag/values', { schema: { ...describe('tempoTagValues', 'Values of an attribute'), params: Tag, querystring: Type.Object({ limit: Values.limit, ...RANGE }), response: { 200: answers(JSON_TYPE, 'its values', Type.Object({ tagValues: Type.Array(Type.String()) })), 400: bad } } }, async (request, reply) => {
    const { query } = request;
    return sendJson(reply, { tagValues: await complete(() => tagValues(db, warehouse, request.params.tag, { range: rangeOf(query, now_ns(), 0n), limit: whole(query, 'limit', 1000, 10_000), conditions: [] })) });
  });

  app.get('/v2/search/tag/:tag/values', { schema: { ...describe('tempoTagValuesV2', 'Values of a field, with their types'), params: Tag, querystring: Type.Object(Values), response: { 200: answers(JSON_TYPE, 'its values', Type.Object({ tagValues: Type.Array(Type.Object({ type: Type.String(), value: Type.String() })) })), 400: bad } } }, async (request, reply) => {
    const { query } = request;
    const range = rangeOf(query, now_ns(), 0n);
    // Grafana sends it while it is being typed.
    const condition = await Promise.resolve().then(() => checked(parseSelector(oneOf(query, 'q') ?? '{}'))).catch(() => undefined);
    return sendJson(reply, { tagValues: await complete(() => tagValuesV2(db, warehouse, request.params.tag, { range, limit: whole(query, 'limit', 1000, 10_000), conditions: condition === undefined ? [] : [condition(range)] })) });
  });
}
