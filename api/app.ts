// The API, as an index: what it guards against, how it describes itself, which routes it has.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Fastify from 'fastify';
import type { FastifyInstance } from 'fastify';
import { packageRoot } from '../schema/package-root.ts';
import { auditRequests } from './access/audit-requests.ts';
import { blankSecrets, blankUrl } from './access/blank-secrets.ts';
import { controlAccess } from './access/control-access.ts';
import type { App } from './app-type.ts';
import { answerClientError } from './client-errors.ts';
import { tellMissingFiles, wholeLookup } from './cold-lookups.ts';
import { openDatabase } from './database.ts';
import type { ApiDependencies, ApiOptions, RouteContext } from './dependencies.ts';
import { jaegerRoutes } from './jaeger/routes.ts';
import { guardLoopback } from './loopback-guard.ts';
import { describeError } from './describe-error.ts';
import { Problem, sendProblem } from './problem.ts';
import { createMetrics, measureAudit, measureRequests } from './metrics.ts';
import { measureOtlp } from './otlp/metrics.ts';
import { coldRoutes } from './routes/cold.ts';
import { correlateRoute } from './routes/correlate.ts';
import { describeRoutes, serveDocuments } from './routes/documents.ts';
import { exportRoutes } from './routes/exports.ts';
import { graphRoute } from './routes/graph.ts';
import { healthRoutes } from './routes/health.ts';
import { ingestRoute } from './routes/ingest.ts';
import { metricsRoute } from './routes/metrics.ts';
import { queryRoutes } from './routes/queries.ts';
import { schemaRoute } from './routes/schema.ts';
import { serviceRoutes } from './routes/services.ts';
import { spanChildrenRoute } from './routes/span-children.ts';
import { sqlJobRoutes } from './routes/sql-jobs.ts';
import { sqlRoutes } from './routes/sql.ts';
import { traceByIdRoute } from './routes/trace-by-id.ts';
import { traceEvidenceRoute } from './routes/trace-evidence.ts';
import { traceSearchRoute } from './routes/trace-search.ts';
import { measureSpans } from './span-metrics/span-metrics.ts';
import { runHere } from './sql-answer.ts';
import { tempoRoutes } from './tempo/routes.ts';
import { Candidate, Span, Trace, TraceSummary } from './trace-json.ts';

const REQUEST_ID = /^[\w.:-]{1,64}$/;
const LONGEST_DETAIL = 300;
const BODY_LIMIT = 1024 * 1024;
/** Until a request is here whole: senders vanish without a word. Node.js's own. */
const REQUEST_TIMEOUT_MS = 300_000;
const INGEST_LIMIT = 256 * 1024 * 1024;
const INGEST_ROOM = { bytes: 128 * 1024 * 1024, wait_ms: 10_000 };

export function buildApp(dependencies: ApiDependencies, options: ApiOptions = {}): FastifyInstance {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  const log = (line: string): void => options.log?.(blankSecrets(line));
  const access = options.access ?? {};
  const db = openDatabase(dependencies.warehouse);
  const context: RouteContext = {
    db,
    warehouse: dependencies.warehouse,
    sql: dependencies.sql ?? runHere(dependencies.warehouse),
    correlator: dependencies.correlator,
    exporter: dependencies.exporter,
    cold: dependencies.cold,
    whole: wholeLookup(dependencies.cold),
    sql_jobs: options.sql_jobs ?? {},
    now_ns: options.now_ns ?? (() => BigInt(Date.now()) * 1_000_000n),
    log,
    ingest_limit_bytes: options.ingest_limit_bytes ?? INGEST_LIMIT,
    ingest_room: options.ingest_room ?? INGEST_ROOM,
  };

  const app = Fastify({
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_TIMEOUT_MS,
    genReqId: (request) => {
      const given = request.headers['x-request-id'];
      return typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
    },
    // A filter that is not known must not be left out in silence; 1e999 is infinite, and above every maximum.
    ajv: { customOptions: { strictNumbers: false, removeAdditional: false, coerceTypes: true, allErrors: false, allowUnionTypes: true } },
    routerOptions: { maxParamLength: 200 },
    forceCloseConnections: 'idle',
    clientErrorHandler: answerClientError,
    // Paths that the router refuses: too long, not to be decoded.
    frameworkErrors: (error, request, reply) => {
      const problem = describeError(error);
      return sendProblem(request, reply, { ...problem, detail: problem.detail.slice(0, LONGEST_DETAIL) });
    },
    ...(access.tls === undefined ? {} : { https: access.tls }),
  });
  app.setErrorHandler((error, request, reply) => {
    const problem = describeError(error);
    if (problem.status >= 500) log(`${request.id} ${request.method} ${blankUrl(request.url)}: ${(error as Error).stack ?? String(error)}`);
    return sendProblem(request, reply, problem);
  });
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, { status: 404, code: 'not-found', detail: blankSecrets(`there is no ${request.method} ${request.url.split('?', 1)[0]}`), mend: 'GET /openapi.json lists what there is' }));
  // Pages elsewhere may send it without being asked first.
  app.removeContentTypeParser('text/plain');
  app.addHook('onClose', async () => db.destroy());

  const metrics = createMetrics(context);
  measureSpans(app, metrics, context, options.span_metrics);
  if (dependencies.otlp !== undefined) measureOtlp(metrics, dependencies.otlp);
  guardLoopback(app, access);
  auditRequests(app, access.audit);
  if (access.audit !== undefined) measureAudit(metrics, access.audit);
  measureRequests(app, metrics);
  controlAccess(app, access);
  tellMissingFiles(app);
  describeRoutes(app, version);
  void app.register(async (root) => {
    const typed: App = root.withTypeProvider();
    for (const schema of [Problem, TraceSummary, Candidate, Span, Trace]) typed.addSchema(schema);
    healthRoutes(typed, context);
    metricsRoute(typed, metrics);
    serveDocuments(root);
    jaegerRoutes(root, context);
    tempoRoutes(root, context, version);
    await root.register(
      async (scope) => {
        const v1: App = scope.withTypeProvider();
        traceSearchRoute(v1, context);
        traceByIdRoute(v1, context);
        spanChildrenRoute(v1, context);
        traceEvidenceRoute(v1, context);
        serviceRoutes(v1, context);
        graphRoute(v1, context);
        sqlRoutes(v1, context);
        sqlJobRoutes(v1, context);
        queryRoutes(v1, context);
        schemaRoute(v1, context);
        ingestRoute(v1, context);
        correlateRoute(v1, context);
        exportRoutes(v1, context);
        coldRoutes(v1, context);
      },
      { prefix: '/api/v1' },
    );
  });
  return app;
}
