import { createGunzip } from 'node:zlib';
import { Type } from 'typebox';
import { decodeBatches } from '../../ingest/arrow-format.ts';
import { RELATION_NAMES } from '../../schema/relations.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, NullableInt64 } from '../json-types.ts';
import { ProblemError } from '../describe-error.ts';
import { problems } from '../problem.ts';

export const ARROW_STREAM = 'application/vnd.apache.arrow.stream';

/** Each holds its whole body in memory. */
const AT_ONCE = 2;

const Answer = Type.Object({
  applied: Count('batches that are stored now'),
  duplicates: Count('batches that were stored before: nothing changed'),
  rows: Count('rows of the applied batches'),
  last_apply_no: NullableInt64('number of the last batch'),
}, { description: 'all of the stream is stored' });

export function ingestRoute(app: App, { warehouse, ingest_limit_bytes }: RouteContext): void {
  let running = 0;
  app.addContentTypeParser(ARROW_STREAM, { parseAs: 'buffer', bodyLimit: ingest_limit_bytes }, (_request, body, done) => done(null, body));

  app.route({
    method: 'POST',
    url: '/ingest',
    bodyLimit: ingest_limit_bytes,
    schema: {
      operationId: 'ingestBatches',
      tags: ['ingest'],
      summary: 'Take batches of raw events',
      description:
        'An Arrow IPC stream as `tracehouse record` and `tracehouse collect` write it, a record batch a batch; content-encoding gzip is taken. ' +
        'Each batch is applied once, known by (node, boot_id, run_id, sequence), and durable when this answers: after an error or no answer, send the same again.',
      consumes: [ARROW_STREAM],
      body: { content: { [ARROW_STREAM]: { schema: Type.Unknown({ description: 'Arrow IPC stream' }) } } },
      response: { 200: Answer, ...problems(400, 413, 415, 422, 429, 503, 507) },
    },
    preParsing: async (request, _reply, payload) => {
      const encoding = request.headers['content-encoding'];
      if (encoding === undefined || encoding === 'identity') return payload;
      if (encoding !== 'gzip') throw new TracehouseError('unsupported-encoding', `content-encoding ${encoding} is not taken`, { mend: 'send gzip or no encoding' });
      const gunzip = createGunzip();
      let received = 0;
      payload.on('data', (piece: Buffer) => (received += piece.length));
      payload.on('error', (error) => gunzip.destroy(error));
      gunzip.on('error', (error: NodeJS.ErrnoException & { statusCode?: number }) => (error.statusCode = 400));
      // Fastify holds the length of what came against content-length, and that of what it reads against the limit.
      return Object.defineProperty(payload.pipe(gunzip), 'receivedEncodedLength', { get: () => received });
    },
    handler: async (request) => {
      if (running >= AT_ONCE) throw new TracehouseError('ingest-busy', `${AT_ONCE} streams are being taken already`, { mend: 'send it again in a moment' });
      running += 1;
      const done = { applied: 0, duplicates: 0, rows: 0, last_apply_no: null as string | null };
      request.audit_note = { rows: () => done.rows };
      try {
        if (!Buffer.isBuffer(request.body)) throw new TracehouseError('unsupported-media-type', `the body is no ${ARROW_STREAM}`, { mend: `send content-type: ${ARROW_STREAM}` });
        for (const batch of decodeBatches(request.body, 'request body')) {
          const { status, apply_no } = await warehouse.apply(batch);
          done.last_apply_no = String(apply_no);
          if (status === 'duplicate') done.duplicates += 1;
          else {
            done.applied += 1;
            done.rows += RELATION_NAMES.reduce((sum, name) => sum + (batch.tables[name]?.rows ?? 0), 0);
          }
        }
      } catch (error) {
        if (!(error instanceof TracehouseError)) throw error;
        // What was applied before stays applied: sending all of it again is right, and cheap.
        throw new ProblemError(error.code, error.message, { ...(error.mend === undefined ? {} : { mend: error.mend }), more: { applied: done.applied, duplicates: done.duplicates }, cause: error });
      } finally {
        running -= 1;
      }
      return done;
    },
  });
}
