import { Type } from 'typebox';
import { QUERY_LIMITS, QUERY_NAME, paramsFor, queryBook } from '../../queries/query-book.ts';
import type { NamedQuery, QueryRequest } from '../../queries/query-book.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { chooseFormat } from '../formats/sql-formats.ts';
import { NullableText } from '../json-types.ts';
import { problems } from '../problem.ts';
import { rfc3339 } from '../time-text.ts';
import { Format, Params, RESPONSES, maxRows, paramsFromText, sqlAnswers, timeoutMs } from './sql.ts';

const Key = Type.Object({ query: Type.String({ pattern: '^[a-z0-9-]{1,64}$', description: 'id or name of the query. An id means the same text for ever; a name, its newest version', examples: ['slowest-operations'] }) });
const SavedAt = NullableText('when; RFC 3339. Null: it came with tracehouse');

const Query = Type.Object({
  id: Type.String({ description: 'of its text and the values saved with it: the same text has the same id everywhere', examples: ['3f0c9a1b7c6d5e4f'] }),
  name: Type.String({ examples: ['slowest-operations'] }),
  source: Type.String({ description: "'cookbook' (docs/cookbook.md) or 'saved'" }),
  description: NullableText('what it answers'),
  sql: Type.String({ description: 'the statement' }),
  params: Type.Unsafe<unknown>({ description: 'values of parameters that a run leaves out; null: it has none of its own' }),
  parameters: Type.Array(Type.Object({ name: Type.String(), type: Type.Optional(Type.String()), fallback: Type.Optional(Type.String({ description: 'in words: what it is when it is null' })), doc: Type.Optional(Type.String()) }), { description: 'what it takes' }),
  saved_at: SavedAt,
  versions: Type.Array(Type.Object({ id: Type.String(), saved_at: SavedAt }), { description: 'all that the name has stood for, oldest first' }),
  permalink: Type.String({ description: 'path that runs this text, whatever becomes of the name', examples: ['/api/v1/queries/3f0c9a1b7c6d5e4f/run'] }),
}, { description: 'the query' });

const timeOf = (ns: bigint | null): string | null => (ns === null ? null : rfc3339(ns));

const answerOf = ({ saved_ns, versions, parameters, ...query }: NamedQuery) => ({
  ...query, parameters: [...parameters], saved_at: timeOf(saved_ns), versions: versions.map((version) => ({ id: version.id, saved_at: timeOf(version.saved_ns) })), permalink: `/api/v1/queries/${query.id}/run`,
});

/** A page ends at a name; the next begins after it, whatever was saved or deleted in between. Error: invalid-cursor. */
function nameAfter(cursor: string | undefined): string {
  const name = Buffer.from(cursor ?? '', 'base64url').toString('utf8');
  if (cursor !== undefined && !new RegExp(QUERY_NAME).test(name)) throw new TracehouseError('invalid-cursor', 'the cursor is not one that this server gave', { mend: 'begin again without cursor' });
  return name;
}

export function queryRoutes(app: App, context: RouteContext): void {
  const book = queryBook(context.warehouse);
  const answerSql = sqlAnswers(app, context);

  app.route({
    method: 'POST',
    url: '/queries',
    schema: {
      operationId: 'saveQuery',
      tags: ['sql'],
      summary: 'Save a query',
      description: `The statement passes the same gate as POST /api/v1/sql. A name that is there already moves on to this version; the older ones stay under their ids. ${QUERY_LIMITS.versions} versions in all.`,
      body: Type.Object(
        {
          name: Type.String({ pattern: QUERY_NAME, description: 'lower-case letters, digits and hyphens', examples: ['spans-of-a-service'] }),
          sql: Type.String({ minLength: 1, maxLength: QUERY_LIMITS.sql_characters, description: 'one statement that reads', examples: ['SELECT kind, count(*) AS spans FROM spans WHERE service_name = coalesce($service, service_name) GROUP BY ALL'] }),
          description: Type.Optional(Type.String({ maxLength: QUERY_LIMITS.description_characters, description: 'what it answers', examples: ['How many spans does a service have?'] })),
          params: Type.Optional(Type.Unsafe<NonNullable<QueryRequest['params']>>({ ...Params, description: 'values of parameters that a run leaves out', examples: [{ service: 'shop' }] })),
        },
        { additionalProperties: false },
      ),
      response: { 201: Query, ...problems(400, 403, 413, 422, 429, 503, 507) },
    },
    handler: async ({ body }, reply) => {
      const query = answerOf(await book.save(body, context.now_ns(), (sql) => context.sql.check(sql)));
      return reply.code(201).header('location', `/api/v1/queries/${query.id}`).send(query);
    },
  });

  app.route({
    method: 'GET',
    url: '/queries',
    schema: {
      operationId: 'listQueries',
      tags: ['sql'],
      summary: 'List queries',
      description: 'Those of the cookbook and saved ones, by name, each in its newest version.',
      querystring: Type.Object(
        {
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100, description: 'at most so many', examples: [20] })),
          cursor: Type.Optional(Type.String({ maxLength: 200, description: 'next_cursor of the page before', examples: ['c2xvd2VzdC1vcGVyYXRpb25z'] })),
        },
        { additionalProperties: false },
      ),
      response: { 200: Type.Object({ queries: Type.Array(Query), next_cursor: NullableText('of the next page; null: this is the last') }, { description: 'a page of queries' }), ...problems(400, 503) },
    },
    handler: async ({ query: { limit = 100, cursor } }) => {
      const after = nameAfter(cursor);
      const left = book.list().filter(({ name }) => name > after);
      const page = left.slice(0, limit);
      const last = page.at(-1);
      return { queries: page.map(answerOf), next_cursor: last === undefined || left.length <= limit ? null : Buffer.from(last.name).toString('base64url') };
    },
  });

  app.route({
    method: 'GET',
    url: '/queries/:query',
    schema: { operationId: 'getQuery', tags: ['sql'], summary: 'One query', params: Key, response: { 200: Query, ...problems(404, 503) } },
    handler: async ({ params }) => answerOf(book.find(params.query)),
  });

  app.route({
    method: 'DELETE',
    url: '/queries/:query',
    schema: {
      operationId: 'deleteQuery',
      tags: ['sql'],
      summary: 'Delete a saved query',
      description: 'A name goes with all its versions; an id goes from every name that it has. Exports that took its text over go on.',
      params: Key,
      response: { 200: Type.Object({ query: Type.String() }, { description: 'it is deleted' }), ...problems(404, 409, 503, 507) },
    },
    handler: async ({ params }) => {
      await book.remove(params.query);
      return { query: params.query };
    },
  });

  app.route({
    method: 'GET',
    url: '/queries/:query/run',
    schema: {
      operationId: 'runQuery',
      tags: ['sql'],
      summary: 'Run a query: a link that can be kept',
      description: 'Formats and limits are those of POST /api/v1/sql. Each parameter of the query is also one of the URL: param.NAME=value, as text, which the statement casts; it wins over params.',
      params: Key,
      querystring: Type.Object(
        { params: Type.Optional(Type.String({ description: 'values of its parameters, as JSON text', examples: ['{"service":"shop"}'] })), format: Format, timeout_ms: timeoutMs(context.sql.limits), max_rows: maxRows(context.sql.limits) },
        { patternProperties: { '^param\\.\\w{1,64}$': { type: 'string' } }, additionalProperties: false },
      ),
      response: { ...RESPONSES, ...problems(404, 503) },
    },
    handler: (request, reply) => {
      const { params, format, timeout_ms, max_rows, ...named } = request.query;
      const query = book.find(request.params.query);
      const listed = params === undefined ? {} : paramsFromText(params);
      const given = { ...(Array.isArray(listed) ? Object.fromEntries(listed.map((value, at) => [String(at + 1), value as unknown])) : listed), ...Object.fromEntries(Object.entries(named).map(([name, value]) => [name.slice('param.'.length), value as unknown])) };
      return answerSql(reply, chooseFormat(format, request.headers.accept), { sql: query.sql, params: paramsFor(query, given), ...(timeout_ms === undefined ? {} : { timeout_ms }), ...(max_rows === undefined ? {} : { max_rows }) });
    },
  });
}
