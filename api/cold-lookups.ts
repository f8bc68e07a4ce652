// Lookups over exported files that are elsewhere: what they need is brought here when it is little, and what is still away
// when they are done stands in the answer.
import type { FastifyInstance } from 'fastify';
import { AwayFiles, noteAway } from '../ingest/away-files.ts';
import type { ColdCache } from '../queries/export/cold-cache.ts';
import { TracehouseError } from '../schema/errors.ts';

export const MISSING_HEADER = 'tracehouse-missing-files';

declare module 'fastify' {
  interface FastifyRequest {
    /** Files that its answer lacks. */
    away: AwayFiles;
  }
}

/** Runs a lookup so that it sees as much as can be had; it may run twice. */
export type WholeLookup = <T>(lookup: () => Promise<T>) => Promise<T>;

const ASK_FOR_THEM = 'POST /api/v1/cold or `tracehouse fetch` brings them';

/** A trace that is not found may be in files that are not here. */
function notHere(error: unknown, { files }: AwayFiles): unknown {
  if (!(error instanceof TracehouseError) || !error.code.endsWith('-not-found') || files.length === 0) return error;
  return new TracehouseError(error.code, `${error.message} here; ${files.length} exported files that may hold it are elsewhere`, { mend: ASK_FOR_THEM, cause: error });
}

export const wholeLookup = (cold: ColdCache | undefined): WholeLookup => async (lookup) => {
  const first = new AwayFiles();
  const outcome = await first.during(lookup).then((value) => ({ value }), (error: unknown) => ({ error }));
  if (first.files.length === 0 || cold === undefined) {
    noteAway(first.files);
    if ('error' in outcome) throw notHere(outcome.error, first);
    return outcome.value;
  }
  await cold.bringFor(first.files);
  const again = new AwayFiles();
  try {
    return await again.during(lookup);
  } catch (error) {
    throw notHere(error, again);
  } finally {
    noteAway(again.files);
  }
};

/** Every answer that lacks files says how many in a header. */
export function tellMissingFiles(app: FastifyInstance): void {
  app.decorateRequest('away');
  app.addHook('preHandler', (request, _reply, done) => {
    request.away = new AwayFiles();
    request.away.during(done);
  });
  app.addHook('onSend', async (request, reply) => {
    // An answer may be refused before it has got so far.
    const missing = (request.away as AwayFiles | undefined)?.files.length ?? 0;
    if (missing > 0) reply.header(MISSING_HEADER, String(missing));
  });
}
