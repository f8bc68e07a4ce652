import { Type } from 'typebox';
import type { Registry } from 'prom-client';
import type { App } from '../app-type.ts';

export function metricsRoute(app: App, registry: Registry): void {
  app.route({
    method: 'GET',
    url: '/metrics',
    schema: {
      operationId: 'metrics',
      tags: ['operation'],
      summary: 'Metrics for Prometheus',
      response: { 200: { description: 'Prometheus text format', content: { 'text/plain': { schema: Type.String() } } } },
    },
    handler: async (_request, reply) => reply.header('content-type', registry.contentType).send(await registry.metrics()),
  });
}
