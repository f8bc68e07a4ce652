import { Type } from 'typebox';
import { TracehouseError } from '../../schema/errors.ts';
import type { App } from '../app-type.ts';
import type { RouteContext } from '../dependencies.ts';
import { problems } from '../problem.ts';

const Alive = Type.Object({ status: Type.Literal('ok') }, { description: 'it does' });
const READY_WITHIN_MS = 2000;

export function healthRoutes(app: App, { warehouse }: RouteContext): void {
  app.route({
    method: 'GET',
    url: '/healthz',
    schema: { operationId: 'health', tags: ['operation'], summary: 'Does the process live', response: { 200: Alive } },
    handler: async () => ({ status: 'ok' as const }),
  });

  app.route({
    method: 'GET',
    url: '/readyz',
    schema: { operationId: 'readiness', tags: ['operation'], summary: 'Does the warehouse answer', response: { 200: Alive, ...problems(503) } },
    handler: async () => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`the warehouse did not answer within ${READY_WITHIN_MS} ms`)), READY_WITHIN_MS);
      });
      try {
        await Promise.race([warehouse.query('SELECT 1'), late]);
      } catch (error) {
        throw new TracehouseError('not-ready', (error as Error).message, { cause: error });
      } finally {
        clearTimeout(timer);
      }
      return { status: 'ok' as const };
    },
  });
}
