// As much of Tempo's API as Grafana's Tempo datasource needs, under /tempo: the bare path is Jaeger's.
import { Type } from 'typebox';
import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../dependencies.ts';
import { JSON_TYPE, answers, sendJson, speakAs } from '../foreign-api.ts';
import { tempoSearchRoutes } from './search-routes.ts';
import { tempoTraceRoutes } from './trace-routes.ts';

/** What Grafana chooses its requests by. */
const SPOKEN_VERSION = '2.6.0';

export function tempoRoutes(root: FastifyInstance, context: RouteContext, version: string): void {
  void root.register(async (scope) => {
    const app = speakAs(scope, { content_type: 'text/plain; charset=utf-8', body: (_status, message) => message });
    app.get('/echo', { schema: { operationId: 'tempoEcho', summary: 'Is anybody there?', tags: ['tempo'], response: { 200: answers('text/plain', 'echo', Type.String()) } } }, async (_request, reply) => reply.header('content-type', 'text/plain; charset=utf-8').send('echo'));
    app.get('/status/buildinfo', { schema: { operationId: 'tempoBuildInfo', summary: "Which of Tempo's versions is spoken", tags: ['tempo'], response: { 200: answers(JSON_TYPE, 'the version', Type.Object({ version: Type.String() }, { additionalProperties: true })) } } }, async (_request, reply) =>
      sendJson(reply, { version: SPOKEN_VERSION, revision: `tracehouse-${version}`, branch: '', buildUser: '', buildDate: '', goVersion: '' }));
    tempoTraceRoutes(app, context);
    tempoSearchRoutes(app, context);
  }, { prefix: '/tempo/api' });
}
