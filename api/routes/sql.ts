import { Type } from 'typebox';
import type { FastifyReply } from 'fastify';
import type { UserSql } from '../../queries/sql-gate.ts';
import { SQL_DEFAULTS } from '../../queries/sql-limits.ts';
import type { SqlLimits } from '../../queries/sql-limits.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { SQL_FORMATS, SQL_FORMAT_NAMES, chooseFormat } from '../formats/sql-formats.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import { Count } from '../json-types.ts';
import { PartStream } from '../part-stream.ts';
import { describeError } from '../describe-error.ts';
import { problems } from '../problem.ts';
import { rfc3339Ms } from '../time-text.ts';

const EXAMPLE = "SELECT service_name, count(*) AS spans FROM spans GROUP BY 1 ORDER BY 2 DESC";

export const Format = Type.Optional(Type.Unsafe<SqlFormatName>({ type: 'string', enum: SQL_FORMAT_NAMES, description: 'of the answer; wins over Accept', examples: ['csv'] }));
export const timeoutMs = ({ timeout_ms }: SqlLimits) => Type.Optional(Type.Integer({ minimum: 1, maximum: timeout_ms, default: Math.min(SQL_DEFAULTS.timeout_ms, timeout_ms), description: 'after so long the statement is stopped: 408 sql-timeout', examples: [5000] }));
export const maxRows = ({ max_rows }: SqlLimits) => Type.Optional(Type.Integer({ minimum: 1, maximum: max_rows, default: Math.min(SQL_DEFAULTS.max_rows, max_rows), description: 'the answer ends after so many rows, and says that it is truncated', examples: [100] }));

const Scalar = ['string', 'number', 'boolean', 'null'];
/** Lists of lists are not taken. */
const Value = { type: [...Scalar, 'array'], items: { type: Scalar }, maxItems: 100_000 };
export const Params = Type.Unsafe<readonly unknown[] | Record<string, unknown>>({
  description: 'values of ? or $1 by position, or of $name by name, where what is left out is null. Integers beyond 2^53 as text, cast in the statement: $1::BIGINT',
  anyOf: [
    { type: 'array', items: Value, maxItems: 1000 },
    { type: 'object', additionalProperties: Value, maxProperties: 1000 },
  ],
  examples: [['server']],
});

const Answer = Type.Object({
  query_id: Type.String({ description: 'of this execution; also in tracehouse-query-id' }),
  columns: Type.Array(Type.Object({ name: Type.String({ examples: ['spans'] }), type: Type.String({ description: "DuckDB's type", examples: ['BIGINT'] }) })),
  rows: Type.Array(Type.Array(Type.Unknown()), { description: 'one array a row. 64-bit and longer integers, decimals, times and blobs are text; lists are arrays, structs objects, maps arrays of {key, value}' }),
  row_count: Count('rows in this answer'),
  truncated: Type.Boolean({ description: 'there were more than max_rows' }),
  elapsed_ms: Type.Number({ description: 'from its arrival to its last row' }),
});

export const ANSWER_CONTENT = {
  [SQL_FORMATS.json.media_type]: { schema: Answer },
  [SQL_FORMATS.ndjson.media_type]: { schema: Type.String({ description: 'one JSON object a row and line' }) },
  [SQL_FORMATS.csv.media_type]: { schema: Type.String({ description: 'RFC 4180 with a header line; an empty field is null, "" an empty text' }) },
  [SQL_FORMATS.arrow.media_type]: { schema: Type.String({ format: 'binary', description: 'Arrow IPC stream' }) },
  [SQL_FORMATS.parquet.media_type]: { schema: Type.String({ format: 'binary', description: 'Parquet file' }) },
};

export const MISSING_SINCE = {
  name: 'tracehouse-missing-since',
  schema: { type: 'string', format: 'date-time', description: 'what was stored from this instant on may not be in the answer: the newest rows could not be had within a quarter of a second. Left out when the answer is as fresh as docs/sql.md says' },
} as const;

export const RESPONSES = {
  200: {
    description: 'the rows. A failure after the first byte breaks the connection off: an answer that ends in order is whole. Trailers tell row count and truncation in every format.',
    headers: { 'tracehouse-query-id': { type: 'string', description: 'of this execution' }, 'tracehouse-missing-files': { type: 'string', description: 'exported files of its relations, of any time, that are elsewhere and that it did not read; left out when there are none' }, [MISSING_SINCE.name]: MISSING_SINCE.schema },
    content: ANSWER_CONTENT,
  },
  ...problems(400, 403, 406, 408, 422, 429),
};

/** JSON numbers between 2^53 and 2^64 were rounded when they were read: better refused than wrong. Error: sql-params. */
export function requireExact(params: UserSql['params']): void {
  Object.values(params ?? {}).forEach(exact);
}

function exact(value: unknown): void {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 2 ** 64) {
    throw new TracehouseError('sql-params', `the number ${value} is beyond 2^53 and was rounded by JSON`, { mend: 'send it as text and cast it: $1::BIGINT' });
  }
  if (Array.isArray(value)) value.forEach(exact);
}

/** Sends the rows of one statement as the answer of a request. */
export function sqlAnswers(app: App, { sql, warehouse, log }: RouteContext) {
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort());

  async function answer(reply: FastifyReply, format: SqlFormatName, statement: UserSql): Promise<FastifyReply> {
    requireExact(statement.params);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.abort();
    });
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    reply.request.audit_note = { sql: statement.sql };
    const { archive } = warehouse;
    reply.request.away.add(archive.files({ tables: archive.tablesNamedIn(statement.sql) }).filter(({ is_here }) => !is_here).map(({ file }) => file));
    const { query_id, parts, missing_since_ms, progress } = await sql.run({ ...statement, signal }, format);
    reply.request.audit_note = { sql: statement.sql, rows: () => progress().row_count };
    async function* body(): AsyncGenerator<string | Uint8Array> {
      try {
        yield* parts;
      } catch (error) {
        if (!signal.aborted) log(`${reply.request.id} ${describeError(error).code} after the answer had begun: ${(error as Error).message}`);
        throw error;
      }
    }
    reply.header('content-type', SQL_FORMATS[format].content_type).header('tracehouse-query-id', query_id).header('cache-control', 'no-store');
    if (missing_since_ms !== null) reply.header(MISSING_SINCE.name, rfc3339Ms(missing_since_ms));
    reply.trailer('tracehouse-row-count', async () => String(progress().row_count));
    reply.trailer('tracehouse-truncated', async () => String(progress().truncated));
    return reply.send(new PartStream(body()));
  }
  return answer;
}

export function sqlRoutes(app: App, context: RouteContext): void {
  const answer = sqlAnswers(app, context);
  const { limits } = context.sql;

  app.route({
    method: 'POST',
    url: '/sql',
    bodyLimit: 1024 * 1024,
    schema: {
      operationId: 'runSql',
      tags: ['sql'],
      summary: 'Run SQL',
      description: `One statement that reads (SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW TABLES, EXPLAIN), in DuckDB's SQL, over the relations of GET /api/v1/schema. ${limits.at_once} run at once.`,
      querystring: Type.Object({ format: Format }, { additionalProperties: false }),
      body: Type.Object(
        {
          sql: Type.String({ minLength: 1, description: 'the statement', examples: ['SELECT kind, count(*) AS spans FROM spans WHERE kind = ? GROUP BY ALL'] }),
          params: Type.Optional(Params),
          timeout_ms: timeoutMs(limits),
          max_rows: maxRows(limits),
        },
        { additionalProperties: false },
      ),
      response: RESPONSES,
    },
    handler: (request, reply) => answer(reply, chooseFormat(request.query.format, request.headers.accept), request.body as UserSql),
  });

  app.route({
    method: 'GET',
    url: '/sql',
    schema: {
      operationId: 'runSqlByUrl',
      tags: ['sql'],
      summary: 'Run SQL given in the URL',
      description: 'The same as POST, for links and for tools that only read URLs.',
      querystring: Type.Object(
        {
          q: Type.String({ minLength: 1, description: 'the statement', examples: [EXAMPLE] }),
          params: Type.Optional(Type.String({ description: 'params of POST, as JSON text', examples: ['[]'] })),
          format: Format,
          timeout_ms: timeoutMs(limits),
          max_rows: maxRows(limits),
        },
        { additionalProperties: false },
      ),
      response: RESPONSES,
    },
    handler: (request, reply) => {
      const { q, params, format, ...asked } = request.query;
      const statement = { sql: q, ...asked, ...(params === undefined ? {} : { params: paramsFromText(params) }) };
      return answer(reply, chooseFormat(format, request.headers.accept), statement as UserSql);
    },
  });
}

export function paramsFromText(text: string): NonNullable<UserSql['params']> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const is_scalar = (one: unknown): boolean => one === null || ['string', 'number', 'boolean'].includes(typeof one);
  const is_value = (one: unknown): boolean => is_scalar(one) || (Array.isArray(one) && one.every(is_scalar));
  if (typeof value !== 'object' || value === null || !Object.values(value).every(is_value)) {
    throw new TracehouseError('sql-params', 'params is no JSON array or object of texts, numbers, booleans and nulls', { mend: 'write params=["a",1] or params={"name":"a"}' });
  }
  return value as NonNullable<UserSql['params']>;
}
