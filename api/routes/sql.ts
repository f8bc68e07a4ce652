import { Readable } from 'node:stream';
import { Type } from 'typebox';
import type { FastifyReply } from 'fastify';
import { SQL_DEFAULTS, SQL_LIMITS, streamUserSql } from '../../queries/sql-gate.ts';
import type { UserSql, UserSqlStream } from '../../queries/sql-gate.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { SQL_FORMATS, SQL_FORMAT_NAMES, chooseFormat } from '../formats/sql-formats.ts';
import type { SqlFormat, SqlFormatName } from '../formats/sql-formats.ts';
import { Count } from '../json-types.ts';
import { describeError, problems } from '../problem.ts';

const EXAMPLE = "SELECT service_name, count(*) AS spans FROM spans GROUP BY 1 ORDER BY 2 DESC";

export const Format = Type.Optional(Type.Unsafe<SqlFormatName>({ type: 'string', enum: SQL_FORMAT_NAMES, description: 'of the answer; wins over Accept', examples: ['csv'] }));
export const TimeoutMs = Type.Optional(Type.Integer({ minimum: 1, maximum: SQL_LIMITS.timeout_ms, default: SQL_DEFAULTS.timeout_ms, description: 'after so long the statement is stopped: 408 sql-timeout', examples: [5000] }));
export const MaxRows = Type.Optional(Type.Integer({ minimum: 1, maximum: SQL_LIMITS.max_rows, default: SQL_DEFAULTS.max_rows, description: 'the answer ends after so many rows, and says that it is truncated', examples: [100] }));

const Scalar = ['string', 'number', 'boolean', 'null'];
export const Params = Type.Unsafe<readonly unknown[] | Record<string, unknown>>({
  description: 'values of ? or $1 by position, or of $name by name, where what is left out is null. Integers beyond 2^53 as text, cast in the statement: $1::BIGINT',
  anyOf: [
    { type: 'array', items: { type: [...Scalar, 'array'] }, maxItems: 1000 },
    { type: 'object', additionalProperties: { type: [...Scalar, 'array'] }, maxProperties: 1000 },
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

export const RESPONSES = {
  200: {
    description: 'the rows. A failure after the first byte breaks the connection off: an answer that ends in order is whole. Trailers tell row count and truncation in every format.',
    headers: { 'tracehouse-query-id': { type: 'string', description: 'of this execution' } },
    content: {
      [SQL_FORMATS.json.media_type]: { schema: Answer },
      [SQL_FORMATS.ndjson.media_type]: { schema: Type.String({ description: 'one JSON object a row and line' }) },
      [SQL_FORMATS.csv.media_type]: { schema: Type.String({ description: 'RFC 4180 with a header line; an empty field is null, "" an empty text' }) },
      [SQL_FORMATS.arrow.media_type]: { schema: Type.String({ format: 'binary', description: 'Arrow IPC stream' }) },
      [SQL_FORMATS.parquet.media_type]: { schema: Type.String({ format: 'binary', description: 'Parquet file' }) },
    },
  },
  ...problems(400, 403, 406, 408, 422, 429),
};

/** JSON numbers between 2^53 and 2^64 were rounded when they were read: better refused than wrong. */
function exact(value: unknown): void {
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 2 ** 64) {
    throw new TracehouseError('sql-params', `the number ${value} is beyond 2^53 and was rounded by JSON`, { mend: 'send it as text and cast it: $1::BIGINT' });
  }
  if (Array.isArray(value)) value.forEach(exact);
}

/** The first rows are there before the head of the answer goes out, so that what fails early has a status of its own. */
async function withFirstChunk(stream: UserSqlStream): Promise<UserSqlStream> {
  const first = await stream.chunks.next();
  async function* chunks(): UserSqlStream['chunks'] {
    try {
      if (first.done === true) return;
      yield first.value;
      yield* stream.chunks;
    } finally {
      await stream.chunks.return();
    }
  }
  return { ...stream, chunks: chunks() };
}

/** Sends the rows of one statement as the answer of a request. */
export function sqlAnswers(app: App, { warehouse, log }: RouteContext) {
  const closing = new AbortController();
  app.addHook('preClose', async () => closing.abort());

  async function answer(reply: FastifyReply, format: SqlFormat, statement: UserSql): Promise<FastifyReply> {
    Object.values(statement.params ?? {}).forEach(exact);
    const gone = new AbortController();
    reply.raw.once('close', () => {
      if (!reply.raw.writableFinished) gone.abort();
    });
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    const stream = await streamUserSql(warehouse, { ...statement, signal });
    let encoded: AsyncGenerator<string | Uint8Array>;
    let head: IteratorResult<string | Uint8Array>;
    try {
      const opened = await withFirstChunk(stream);
      encoded = format.encode(opened, warehouse, signal);
      head = await encoded.next();
    } catch (error) {
      stream.close();
      throw error;
    }
    async function* body(): AsyncGenerator<string | Uint8Array> {
      try {
        if (head.done !== true) yield head.value;
        yield* encoded;
      } catch (error) {
        if (!signal.aborted) log(`${reply.request.id} ${describeError(error).code} after the answer had begun: ${(error as Error).message}`);
        throw error;
      } finally {
        await encoded.return(undefined);
        stream.close();
      }
    }
    reply.header('content-type', format.content_type).header('tracehouse-query-id', stream.query_id).header('cache-control', 'no-store');
    reply.trailer('tracehouse-row-count', async () => String(stream.progress().row_count));
    reply.trailer('tracehouse-truncated', async () => String(stream.progress().truncated));
    return reply.send(Readable.from(body(), { objectMode: false }));
  }
  return answer;
}

export function sqlRoutes(app: App, context: RouteContext): void {
  const answer = sqlAnswers(app, context);

  app.route({
    method: 'POST',
    url: '/sql',
    bodyLimit: 1024 * 1024,
    schema: {
      operationId: 'runSql',
      tags: ['sql'],
      summary: 'Run SQL',
      description: `One statement that reads (SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW TABLES, EXPLAIN), in DuckDB's SQL, over the relations of GET /api/v1/schema. ${SQL_LIMITS.at_once} run at once.`,
      querystring: Type.Object({ format: Format }, { additionalProperties: false }),
      body: Type.Object(
        {
          sql: Type.String({ minLength: 1, description: 'the statement', examples: ['SELECT kind, count(*) AS spans FROM spans WHERE kind = ? GROUP BY ALL'] }),
          params: Type.Optional(Params),
          timeout_ms: TimeoutMs,
          max_rows: MaxRows,
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
          timeout_ms: TimeoutMs,
          max_rows: MaxRows,
        },
        { additionalProperties: false },
      ),
      response: RESPONSES,
    },
    handler: (request, reply) => {
      const { q, params, format, ...limits } = request.query;
      const statement = { sql: q, ...limits, ...(params === undefined ? {} : { params: paramsFromText(params) }) };
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
