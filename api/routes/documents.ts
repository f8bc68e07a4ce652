// The API's description of itself. Everything that the pages need comes from here, so they work without a network.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { SECURITY_SCHEMES } from '../access/openapi-access.ts';

const TAGS = [
  { name: 'traces', description: 'Find traces, read one, see what each of its links stands on' },
  { name: 'discovery', description: 'What is there: services, operations, who calls whom' },
  { name: 'sql', description: 'Any question, in SQL' },
  { name: 'ingest', description: 'Events from collectors elsewhere' },
  { name: 'exports', description: 'Parquet files, by schedule or when asked for' },
  { name: 'jaeger', description: "Jaeger's query APIs, v1 and v3, for Jaeger UI and Grafana; parameters and errors are Jaeger's" },
  { name: 'tempo', description: "As much of Tempo's API as Grafana's Tempo datasource needs; parameters and errors are Tempo's" },
  { name: 'operation', description: 'Health and metrics' },
];

/** To be called before any route is registered: it collects them as they come. */
export function describeRoutes(app: FastifyInstance, version: string): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'tracehouse',
        version,
        description: 'Distributed traces of services that nobody instrumented.\n\nErrors are application/problem+json with a stable `code`; under the tags jaeger and tempo they have the shape of those tools. 64-bit integers travel as text. Only requests for the names of this server are served (localhost, 127.0.0.1, [::1], and those that it was started with), and none that pages of other origins make: 403.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      tags: TAGS,
      components: { securitySchemes: SECURITY_SCHEMES },
    },
    refResolver: { buildLocalReference: (json, _base, _fragment, index) => (typeof json['$id'] === 'string' ? json['$id'] : `schema-${index}`) },
  });
}

export function serveDocuments(app: FastifyInstance): void {
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  app.get('/', { schema: { hide: true } }, async (_request, reply) => reply.redirect('/docs'));
  void app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true, uiConfig: { docExpansion: 'list', deepLinking: true, tryItOutEnabled: true } });
}
