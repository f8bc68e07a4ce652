import { createReadStream } from 'node:fs';
import { Type } from 'typebox';
import type { UserSql } from '../../queries/sql-gate.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { SQL_FORMATS, SQL_FORMAT_NAMES, chooseFormat } from '../formats/sql-formats.ts';
import type { SqlFormatName } from '../formats/sql-formats.ts';
import { Count } from '../json-types.ts';
import { MISSING_HEADER } from '../cold-lookups.ts';
import { describeError } from '../describe-error.ts';
import { problems } from '../problem.ts';
import { SqlJobs } from '../sql-jobs.ts';
import type { SqlJob } from '../sql-jobs.ts';
import { rfc3339Ms } from '../time-text.ts';
import { ANSWER_CONTENT, Format, MISSING_SINCE, Params, requireExact } from './sql.ts';

const STATES = ['queued', 'running', 'done', 'failed', 'cancelled'] as const;

const Status = Type.Object({
  query_id: Type.String({ examples: ['5b1f0c0e-7d0f-4a53-9f0b-2a6e0a6f4c11'] }),
  state: Type.Unsafe<(typeof STATES)[number]>({ type: 'string', enum: [...STATES], description: 'cancelled: stopped before it was done' }),
  format: Type.Unsafe<SqlFormatName>({ type: 'string', enum: SQL_FORMAT_NAMES, description: 'of the answer' }),
  submitted_at: Type.String({ description: 'RFC 3339', format: 'date-time' }),
  elapsed_ms: Type.Number({ description: 'that it has been running, or ran' }),
  bytes: Count('of the answer so far'),
  row_count: Type.Union([Count('rows in the answer'), Type.Null()], { description: 'null until it is done' }),
  truncated: Type.Union([Type.Boolean(), Type.Null()], { description: 'there were more than max_rows; null until it is done' }),
  missing_since: Type.Union([Type.String({ format: 'date-time' }), Type.Null()], { description: 'of its answer, as the header tracehouse-missing-since of POST /api/v1/sql' }),
  missing_files: Count('exported files of its relations that are elsewhere and that it did not read, as the header tracehouse-missing-files of POST /api/v1/sql'),
  error: Type.Union([Type.Object({ code: Type.String(), detail: Type.String(), mend: Type.Optional(Type.String()) }), Type.Null()], { description: 'why it failed' }),
  result_url: Type.Union([Type.String(), Type.Null()], { description: 'of the answer; null until it is done' }),
}, { description: 'how far the statement is' });

const QueryId = Type.Object({ query_id: Type.String({ description: 'from the answer of POST /api/v1/sql/async', examples: ['5b1f0c0e-7d0f-4a53-9f0b-2a6e0a6f4c11'] }) });

function statusJson(job: SqlJob) {
  const done = job.state === 'done';
  const { code, detail, mend } = describeError(job.error);
  return {
    query_id: job.query_id, state: job.state, format: job.format,
    submitted_at: rfc3339Ms(job.submitted_ms),
    elapsed_ms: job.started_ms === null ? 0 : (job.ended_ms ?? Date.now()) - job.started_ms,
    bytes: job.bytes,
    row_count: done ? job.progress.row_count : null,
    truncated: done ? job.progress.truncated : null,
    missing_since: job.missing_since_ms === null ? null : rfc3339Ms(job.missing_since_ms),
    missing_files: job.missing_files,
    error: job.error === null || job.state === 'cancelled' ? null : { code, detail, ...(mend === undefined ? {} : { mend }) },
    result_url: done ? `/api/v1/sql/${job.query_id}/result` : null,
  };
}

/** Statements that outlast a request. */
export function sqlJobRoutes(app: App, { sql, warehouse, sql_jobs }: RouteContext): void {
  const { archive } = warehouse;
  const missing_files = (text: string): number => archive.files({ tables: archive.tablesNamedIn(text) }).filter(({ is_here }) => !is_here).length;
  const jobs = new SqlJobs(sql, warehouse.folder, { ...sql_jobs, missing_files });
  app.addHook('preClose', () => jobs.close());
  const { timeout_ms, keep_ms, most_bytes } = jobs.options;

  app.route({
    method: 'POST',
    url: '/sql/async',
    bodyLimit: 1024 * 1024,
    schema: {
      operationId: 'submitSql',
      tags: ['sql'],
      summary: 'Run SQL, fetch its answer later',
      description: `For statements that take longer than a request should. What POST /api/v1/sql takes, with up to ${Math.round(timeout_ms / 1000)} s and ${most_bytes} bytes. It waits for its turn while others run; one place is always left for those who wait for their answer. Answers are kept for ${Math.round(keep_ms / 60_000)} minutes and until the server stops.`,
      querystring: Type.Object({ format: Format }, { additionalProperties: false }),
      body: Type.Object(
        {
          sql: Type.String({ minLength: 1, description: 'the statement', examples: ['SELECT service_name, count(*) AS spans FROM spans GROUP BY ALL'] }),
          params: Type.Optional(Params),
          timeout_ms: Type.Optional(Type.Integer({ minimum: 1, maximum: timeout_ms, default: timeout_ms, description: 'after so long the statement is stopped', examples: [600_000] })),
          max_rows: Type.Optional(Type.Integer({ minimum: 1, maximum: sql.limits.max_rows, default: sql.limits.max_rows, description: 'the answer ends after so many rows, and says that it is truncated', examples: [1_000_000] })),
        },
        { additionalProperties: false },
      ),
      response: { 202: Status, ...problems(400, 406, 429, 503) },
    },
    handler: async (request, reply) => {
      const statement = request.body as UserSql;
      requireExact(statement.params);
      const job = jobs.submit(statement, chooseFormat(request.query.format, request.headers.accept));
      return reply.code(202).header('location', `/api/v1/sql/${job.query_id}`).send(statusJson(job));
    },
  });

  app.route({
    method: 'GET',
    url: '/sql/:query_id',
    schema: { operationId: 'getSqlStatus', tags: ['sql'], summary: 'How far an asynchronous statement is', params: QueryId, response: { 200: Status, ...problems(404) } },
    handler: async ({ params }) => statusJson(jobs.get(params.query_id)),
  });

  app.route({
    method: 'GET',
    url: '/sql/:query_id/result',
    schema: {
      operationId: 'getSqlResult',
      tags: ['sql'],
      summary: 'The answer of an asynchronous statement',
      description: 'As often as you like while it is kept. 409 query-running while there is none yet; a statement that failed answers with the error that it failed with.',
      params: QueryId,
      response: { 200: { description: 'the rows, in the format that was asked for', headers: { [MISSING_SINCE.name]: MISSING_SINCE.schema }, content: ANSWER_CONTENT }, ...problems(403, 404, 408, 409, 422, 507) },
    },
    handler: async ({ params }, reply) => {
      const job = jobs.get(params.query_id);
      if (job.state === 'failed') throw job.error;
      if (job.state !== 'done') throw new TracehouseError('query-running', `the statement is ${job.state}`, { mend: `ask for it again when GET /api/v1/sql/${job.query_id} says done` });
      reply.header('content-type', SQL_FORMATS[job.format].content_type).header('content-length', job.bytes).header('tracehouse-query-id', job.query_id).header('cache-control', 'no-store');
      if (job.missing_files > 0) reply.header(MISSING_HEADER, String(job.missing_files));
      if (job.missing_since_ms !== null) reply.header(MISSING_SINCE.name, rfc3339Ms(job.missing_since_ms));
      return reply.send(createReadStream(job.path));
    },
  });

  app.route({
    method: 'DELETE',
    url: '/sql/:query_id',
    schema: {
      operationId: 'deleteSql',
      tags: ['sql'],
      summary: 'Stop an asynchronous statement, forget its answer',
      params: QueryId,
      response: { 200: Type.Object({ query_id: Type.String() }, { description: 'it is gone' }), ...problems(404) },
    },
    handler: async ({ params }) => {
      await jobs.delete(params.query_id);
      return { query_id: params.query_id };
    },
  });
}
