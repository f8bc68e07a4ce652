// What a token permits. Each route needs exactly one scope, said on the route (config.scope) or, unless it is, by where it lies:
// a route that nobody thought about stops the start instead of standing open.
import { TracehouseError } from '../../schema/errors.ts';

export const SCOPES = ['traces:read', 'sql:run', 'export:write', 'ingest:write', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];
/** 'none': answers everybody. */
export type RouteScope = Scope | 'none';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Set on every route by controlAccess. */
    scope?: RouteScope;
  }
}

/** The first that fits decides; a prefix ends at a slash. */
const SCOPE_OF_PREFIX: readonly (readonly [prefix: string, scope: RouteScope])[] = [
  ['/healthz', 'none'],
  ['/readyz', 'none'],
  ['/metrics', 'traces:read'],
  // They say nothing of what is stored, and a browser sends no token with a page: its button Authorize takes one.
  ['/docs', 'none'],
  ['/openapi.json', 'none'],
  ['/api/v1/sql', 'sql:run'],
  ['/api/v1/queries', 'sql:run'],
  ['/api/v1/exports', 'export:write'],
  ['/api/v1/ingest', 'ingest:write'],
  ['/api/v1/correlate', 'admin'],
  ['/api/v1/cold', 'admin'],
  ['/api/v1', 'traces:read'],
  // As Jaeger's and Tempo's clients call them.
  ['/api', 'traces:read'],
  ['/jaeger', 'traces:read'],
  ['/tempo', 'traces:read'],
];

/** Error: route-scope, for whoever writes a route. */
export function scopeOfRoute(url: string, own: RouteScope | undefined): RouteScope {
  if (own !== undefined) return own;
  if (url === '/') return 'none';
  const found = SCOPE_OF_PREFIX.find(([prefix]) => url === prefix || url.startsWith(`${prefix}/`));
  if (found === undefined) throw new TracehouseError('route-scope', `the route ${url} says no scope`, { mend: 'give it config: { scope }, or its prefix a line in api/access/scopes.ts' });
  return found[1];
}
