import { Transform } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { decodeBatches } from '../../ingest/arrow-format.ts';
import { RELATION_NAMES } from '../../schema/relations.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, NullableInt64 } from '../json-types.ts';
import { ProblemError } from '../describe-error.ts';
import { problems } from '../problem.ts';
import { Room } from '../room.ts';
import type { Place } from '../room.ts';

export const ARROW_STREAM = 'application/vnd.apache.arrow.stream';

/** Streams that are stored; others wait with their bodies in memory, and beyond so many bytes of those before they are read. */
const AT_ONCE = 2;
/** Of a body whose size is not told. */
const ASSUMED_BYTES = 4 * 1024 * 1024;

/** Counts what a body has more than was assumed. */
function measured(place: Place, assumed: number): Transform {
  let received = 0;
  const counted = new Transform({
    transform: (piece: Buffer, _encoding, done) => {
      const before = Math.max(received, assumed);
      received += piece.length;
      if (received > before) place.grow(received - before);
      done(null, piece);
    },
  });
  // Whoever reads it hears of it too; a body that was refused is read by nobody.
  counted.on('error', () => undefined);
  return counted;
}

const Answer = Type.Object({
  applied: Count('batches that are stored now'),
  duplicates: Count('batches that were stored before: nothing changed'),
  rows: Count('rows of the applied batches'),
  last_apply_no: NullableInt64('number of the last batch'),
}, { description: 'all of the stream is stored' });

export function ingestRoute(app: App, { warehouse, ingest_limit_bytes, ingest_room: { bytes, wait_ms } }: RouteContext): void {
  const bodies = new Room({ most: bytes, wait_ms, what: `${bytes} bytes of streams have been on their way or waiting` });
  const stores = new Room({ most: AT_ONCE, wait_ms, what: `${AT_ONCE} streams have been stored, and others were before this one,` });
  const places = new WeakMap<FastifyReply, Place>();
  const leaveWith = (reply: FastifyReply): void => places.get(reply)?.leave();
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
    preParsing: async (request, reply, payload) => {
      const encoding = request.headers['content-encoding'] ?? 'identity';
      if (encoding !== 'gzip' && encoding !== 'identity') throw new TracehouseError('unsupported-encoding', `content-encoding ${encoding} is not taken`, { mend: 'send gzip or no encoding' });
      const told = Number(request.headers['content-length'] ?? NaN);
      // These are refused unread.
      if (told > ingest_limit_bytes || request.headers['content-type']?.split(';')[0]?.trim() !== ARROW_STREAM) return payload;
      const size = encoding === 'identity' && told >= 0 ? told : ASSUMED_BYTES;
      const gone = new AbortController();
      const left = (): void => gone.abort(Object.assign(new Error('the sender has gone'), { statusCode: 400 }));
      reply.raw.once('close', left);
      const place = await bodies.enter(Math.min(size, ingest_limit_bytes), gone.signal);
      reply.raw.off('close', left);
      // Whatever comes first: the answer, or the end of the connection while the body is on its way.
      places.set(reply, place);
      reply.raw.once('close', place.leave);
      if (reply.raw.destroyed) place.leave();
      if (encoding === 'identity' && !Number.isNaN(told)) return payload;
      const counted = measured(place, size);
      payload.on('error', (error) => counted.destroy(error));
      if (encoding === 'identity') return payload.pipe(counted);
      const gunzip = createGunzip();
      let received = 0;
      payload.on('data', (piece: Buffer) => (received += piece.length));
      payload.on('error', (error) => gunzip.destroy(error));
      gunzip.on('error', (error: NodeJS.ErrnoException & { statusCode?: number }) => (error.statusCode = 400));
      // Fastify holds the length of what came against content-length, and that of what it reads against the limit.
      gunzip.on('error', (error) => counted.destroy(error));
      return Object.defineProperty(payload.pipe(gunzip).pipe(counted), 'receivedEncodedLength', { get: () => received });
    },
    onResponse: async (_request, reply) => leaveWith(reply),
    handler: async (request, reply) => {
      // Its body is held until it is stored, also if nobody waits for the answer any more.
      const place = places.get(reply);
      if (place !== undefined) reply.raw.off('close', place.leave);
      const turn = await stores.enter(1).catch((error: unknown) => {
        leaveWith(reply);
        throw error;
      });
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
        turn.leave();
        leaveWith(reply);
      }
      return done;
    },
  });
}
