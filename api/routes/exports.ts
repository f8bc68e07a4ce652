import { Type } from 'typebox';
import type { ExportPlan } from '../../ingest/export-ledger.ts';
import { EXPORT_RELATIONS } from '../../queries/export/relations.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, Int64, NullableInt64, NullableText, int64, nullableInt64, readInt64 } from '../json-types.ts';
import { problems } from '../problem.ts';

const ExportId = Type.Object({ export_id: Type.String({ pattern: '^[0-9a-f]{12}$', description: 'of the export', examples: ['0123456789ab'] }) });

const Export = Type.Object({
  export_id: Type.String(),
  cron: NullableText('when, UTC; null: only when asked to'),
  next_run_at: NullableText('when it is due next; RFC 3339'),
  relations: Type.Array(Type.String()),
  query: NullableText('instead of relations'),
  destination: Type.String({ description: 'a folder, or s3://bucket/prefix' }),
  max_age_ns: NullableInt64('what it has exported leaves the warehouse when it is older'),
  max_bytes: NullableInt64('what it has exported leaves, oldest first, while the warehouse is bigger'),
}, { description: 'the export' });

const Report = Type.Object({
  files: Count('files written'),
  rows: Int64('rows in them'),
  bytes: Int64('their size'),
  dropped: Type.Object({ files: Count('files of the warehouse'), bytes: Count('their size'), held: Count('due, but not exported, so they stay') }, { description: 'what its retention took' }),
}, { description: 'what the run did' });

const NanosecondsText = (description: string, example: string) => Type.Optional(Type.String({ pattern: '^[0-9]+$', description: `${description} (64-bit integer, as text)`, examples: [example] }));

export function exportRoutes(app: App, { exporter }: RouteContext): void {
  const scheduler = () => {
    if (exporter === undefined) throw new TracehouseError('warehouse-read-only', 'nothing is exported from here', { mend: 'ask a running `tracehouse up` or `serve`' });
    return exporter;
  };
  const answer = (plan: ExportPlan) => ({
    export_id: plan.export_id, cron: plan.cron, next_run_at: scheduler().next(plan)?.toISOString() ?? null, relations: [...plan.relations], query: plan.query, destination: plan.destination,
    max_age_ns: nullableInt64(plan.max_age_ns), max_bytes: nullableInt64(plan.max_bytes),
  });

  app.route({
    method: 'POST',
    url: '/exports',
    schema: {
      operationId: 'addExport',
      tags: ['exports'],
      summary: 'Schedule an export to Parquet',
      description: 'Each row is written once; what was written is in the relation export_files. Without cron it runs when asked to, and asked for again it is the same export.',
      body: Type.Object(
        {
          destination: Type.String({ minLength: 1, description: 'a folder of the server, or s3://bucket/prefix', examples: ['/var/lib/tracehouse/parquet'] }),
          cron: Type.Optional(Type.String({ description: 'minute, hour, day, month, weekday; UTC', examples: ['5 * * * *'] })),
          relations: Type.Optional(Type.Array(Type.String({ enum: Object.keys(EXPORT_RELATIONS) }), { description: 'all of them unless there is a query', examples: [['spans', 'span_links']] })),
          query: Type.Optional(Type.String({ description: 'instead of relations: a statement about the time after $from_ns up to $to_ns, which each run fills in; or name or id of a saved query that is one, whose text is taken over as it is now' })),
          max_age_ns: NanosecondsText('what it has exported leaves the warehouse when it is older', '604800000000000'),
          max_bytes: NanosecondsText('what it has exported leaves the warehouse, oldest first, while that is bigger', '50000000000'),
        },
        { additionalProperties: false },
      ),
      response: { 200: Export, ...problems(400, 404, 422, 503) },
    },
    handler: async ({ body }) => {
      const { max_age_ns, max_bytes, ...rest } = body;
      return answer(await scheduler().add({ ...rest, max_age_ns: max_age_ns === undefined ? null : readInt64('max_age_ns', max_age_ns), max_bytes: max_bytes === undefined ? null : readInt64('max_bytes', max_bytes) }));
    },
  });

  app.route({
    method: 'GET',
    url: '/exports',
    schema: { operationId: 'listExports', tags: ['exports'], summary: 'List exports', response: { 200: Type.Object({ exports: Type.Array(Export) }, { description: 'all that were not deleted' }) } },
    handler: async () => ({ exports: (exporter?.plans ?? []).map(answer) }),
  });

  app.route({
    method: 'DELETE',
    url: '/exports/:export_id',
    schema: {
      operationId: 'deleteExport',
      tags: ['exports'],
      summary: 'Delete an export',
      description: 'It writes no more. Files that it has written stay, and so does what the ledger says of them.',
      params: ExportId,
      querystring: Type.Object({}, { additionalProperties: false }),
      response: { 200: Type.Object({ export_id: Type.String() }, { description: 'it is deleted' }), ...problems(400, 404, 503) },
    },
    handler: async ({ params }) => {
      await scheduler().remove(params.export_id);
      return { export_id: params.export_id };
    },
  });

  app.route({
    method: 'POST',
    url: '/exports/:export_id/run',
    schema: {
      operationId: 'runExport',
      tags: ['exports'],
      summary: 'Run an export now',
      description: 'Settles when every row that was stored before is at its destination.',
      params: ExportId,
      querystring: Type.Object({ since_ns: NanosecondsText('segments that end before it are left for later', '0') }, { additionalProperties: false }),
      response: { 200: Report, ...problems(400, 404, 409, 422, 503, 507) },
    },
    handler: async (request) => {
      const { params, query } = request;
      const report = await scheduler().run(params.export_id, query.since_ns === undefined ? undefined : readInt64('since_ns', query.since_ns));
      request.audit_note = { rows: () => Number(report.rows) };
      return { files: report.files, rows: int64(report.rows), bytes: int64(report.bytes), dropped: report.dropped };
    },
  });
}
