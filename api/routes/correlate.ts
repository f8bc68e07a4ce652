import { Type } from 'typebox';
import { recorrelate } from '../../queries/recorrelate.ts';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { Count, Int64, readInt64 } from '../json-types.ts';
import { problems } from '../problem.ts';

const Answer = Type.Object({
  spans: Count('spans of the range, as they are now'),
  kept: Count('of these, as they were, because the raw rows that they came of are gone'),
  unchanged: Count('of these, with the parent that they had before'),
  links_gained: Count('spans that have a parent now and had none'),
  links_lost: Count('spans that had a parent and have none now'),
  links_moved: Count('spans that have another parent now'),
}, { description: 'what changed' });

export function correlateRoute(app: App, { warehouse, correlator }: RouteContext): void {
  let running = false;
  app.route({
    method: 'POST',
    url: '/correlate',
    schema: {
      operationId: 'correlate',
      tags: ['operation'],
      summary: "Correlate history again with today's rules",
      description: 'What `tracehouse correlate` asks of a running server. Raw events stay as they are; spans and links of the range are made anew and swapped in. Done twice it changes nothing.',
      body: Type.Object(
        { from_ns: Int64('start of the range, nanoseconds since 1970', '0'), to_ns: Int64('its end', '1769860800123456789') },
        { additionalProperties: false },
      ),
      response: { 200: Answer, ...problems(400, 409, 503, 507) },
    },
    handler: async (request) => {
      const [from_ns, to_ns] = [readInt64('from_ns', request.body.from_ns), readInt64('to_ns', request.body.to_ns)];
      if (from_ns > to_ns) throw new TracehouseError('invalid-range', 'from_ns is later than to_ns', { mend: 'swap them' });
      if (running) throw new TracehouseError('correlate-busy', 'history is being correlated already', { mend: 'wait until that is done' });
      running = true;
      try {
        return await (correlator?.again?.({ from_ns, to_ns }) ?? recorrelate(warehouse, { from_ns, to_ns }));
      } finally {
        running = false;
      }
    },
  });
}
