import { Type } from 'typebox';
import type { NsRange } from '../../ingest/warehouse.ts';
import type { ColdState } from '../../queries/export/cold-cache.ts';
import { EXPORT_RELATIONS } from '../../queries/export/relations.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, NullableText } from '../json-types.ts';
import { problems } from '../problem.ts';
import { RangeParameters } from '../search-range.ts';
import { parseTime, rfc3339 } from '../time-text.ts';

const Relations = Type.Array(Type.String({ enum: Object.keys(EXPORT_RELATIONS) }), { description: 'stored relations; all of them unless it is said', examples: [['spans', 'span_links']] });

const Progress = Type.Object({ files: Count('files that have come'), of_files: Count('of so many'), bytes: Count('bytes that have come'), of_bytes: Count('of so many') });

const State = Type.Object({
  files: Count('exported files that are read in place of dropped ones, of the range'),
  bytes: Count('their size'),
  away: Type.Object({
    files: Count('of these are where DuckDB cannot read them: answers lack their rows'),
    bytes: Count('their size'),
    rows: Count('rows in them'),
    first: NullableText('their earliest row; RFC 3339'),
    last: NullableText('their latest row'),
  }),
  cache: Type.Object({ bytes: Count('copies that are here'), limit_bytes: Count('what --cold-cache allows') }),
  fetching: Type.Unsafe<{ files: number; of_files: number; bytes: number; of_bytes: number } | null>({ anyOf: [Progress, { type: 'null' }], description: 'what somebody asked for and is on its way; null: nothing' }),
  last_error: NullableText('why the last that was asked for did not come'),
}, { description: 'what is here and what is not' });

const ms = (ns: bigint | null): string | null => (ns === null ? null : rfc3339(ns));

function answer({ files, bytes, fetching, last_error, ...state }: ColdState) {
  return {
    files, bytes, fetching, last_error,
    away: { files: state.away_files, bytes: state.away_bytes, rows: state.away_rows, first: ms(state.away_min_ns), last: ms(state.away_max_ns) },
    cache: { bytes: state.cached_bytes, limit_bytes: state.limit_bytes },
  };
}

function rangeOf({ start, end }: { start?: string | undefined; end?: string | undefined }, now_ns: bigint): NsRange {
  const from_ns = start === undefined ? 0n : parseTime('start', start, now_ns);
  const to_ns = end === undefined ? now_ns : parseTime('end', end, now_ns);
  if (from_ns > to_ns) throw new TracehouseError('invalid-range', 'start is later than end', { mend: 'swap them' });
  return { from_ns, to_ns };
}

export function coldRoutes(app: App, { cold, now_ns, log }: RouteContext): void {
  const cache = () => {
    if (cold === undefined) throw new TracehouseError('warehouse-read-only', 'nothing is fetched from here', { mend: 'ask a running `tracehouse up` or `serve`' });
    return cold;
  };
  const asked = (request: { start?: string | undefined; end?: string | undefined }, relations: readonly string[] | undefined) => ({
    range: rangeOf(request, now_ns()), ...(relations === undefined ? {} : { tables: new Set(relations) }),
  });

  app.route({
    method: 'GET',
    url: '/cold',
    schema: {
      operationId: 'coldFiles',
      tags: ['exports'],
      summary: 'Exported files that stand in for dropped ones',
      description: 'How many there are, and which of them are elsewhere, as in an S3 store. Lookups bring what they need by themselves as long as it is little; SQL reads what is here. An answer that lacks files says how many in the header tracehouse-missing-files.',
      querystring: Type.Object(RangeParameters, { additionalProperties: false }),
      response: { 200: State, ...problems(400, 503) },
    },
    handler: async ({ query }) => answer(cache().state(asked(query, undefined))),
  });

  app.route({
    method: 'POST',
    url: '/cold',
    schema: {
      operationId: 'fetchColdFiles',
      tags: ['exports'],
      summary: 'Bring exported files here',
      description: 'All of a range that are elsewhere, into a cache on disk, where SQL reads them too. Answers at once; GET /api/v1/cold says how far it is.',
      body: Type.Object({ ...RangeParameters, relations: Type.Optional(Relations) }, { additionalProperties: false }),
      response: { 202: State, ...problems(400, 409, 413, 503) },
    },
    handler: async (request, reply) => {
      const { relations, ...range } = request.body;
      const wanted = asked(range, relations);
      const fetching = cache().fetch(wanted);
      // What is wrong with the question shows at once; what goes wrong later is told by GET.
      fetching.catch((error: Error) => log(`exported files did not come: ${error.message}`));
      await Promise.race([fetching, new Promise((resolve) => setImmediate(resolve))]);
      return reply.code(202).send(answer(cache().state(wanted)));
    },
  });
}
