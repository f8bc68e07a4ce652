// Jaeger's query APIs, at / and under /jaeger: clients are configured with either.
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../dependencies.ts';
import { jaegerV1 } from './v1-routes.ts';
import { jaegerV3 } from './v3-routes.ts';

export function jaegerRoutes(app: FastifyInstance, context: RouteContext): void {
  for (const base of ['', '/jaeger']) {
    const name = (id: string): string => (base === '' ? id : `${id}Prefixed`);
    void app.register(async (scope) => jaegerV1(scope, context, name), { prefix: `${base}/api` });
    void app.register(async (scope) => jaegerV3(scope, context, name), { prefix: `${base}/api/v3` });
  }
}
