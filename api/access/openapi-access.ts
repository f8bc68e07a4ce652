// What the description says of access: of each operation its scope, and the refusals that this server can answer with.
import type { RouteOptions } from 'fastify';
import { problems } from '../problem.ts';
import type { RouteScope } from './scopes.ts';

export const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'A token made by `tracehouse token create`. Needed unless the server listens on loopback alone, and there with --require-token. The scope that an operation names is the one that the token must have.' },
} as const;

interface Describable {
  hide?: boolean;
  security?: unknown;
  response?: Record<string, unknown>;
}

export function describeAccess(route: RouteOptions, scope: RouteScope, { require_token, is_limited }: { require_token: boolean; is_limited: boolean }): void {
  const schema = route.schema as Describable | undefined;
  if (schema?.response === undefined || schema.hide === true) return;
  const has_scope = scope !== 'none';
  const refusals = { ...(require_token && has_scope ? problems(401, 403) : {}), ...(is_limited ? problems(429) : {}) };
  // {}: or nothing at all.
  const security = has_scope ? [{ bearer: [scope] }, ...(require_token ? [] : [{}])] : [];
  route.schema = { ...schema, security, response: { ...refusals, ...schema.response } } as NonNullable<RouteOptions['schema']>;
}
