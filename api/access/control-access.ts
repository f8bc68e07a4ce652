// The one place that decides whether a request may be served: which scope its route needs, whose token it carries, how often
// that one has asked.
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import type { ProblemDetails } from '../describe-error.ts';
import { sendProblem } from '../problem.ts';
import type { Access } from './access.ts';
import { secretIn } from './blank-secrets.ts';
import { allowOrigins } from './cors.ts';
import { isLocal } from './local-requests.ts';
import { describeAccess } from './openapi-access.ts';
import { limitRequests } from './rate-limit.ts';
import { scopeOfRoute } from './scopes.ts';
import type { RouteScope } from './scopes.ts';
import type { Token, TokenFile } from './token-file.ts';

const CHALLENGE = 'Bearer realm="tracehouse"';
const HOW = 'send Authorization: Bearer TOKEN; `tracehouse token create` makes one';

const bearerOf = ({ headers }: FastifyRequest): string | undefined => /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];

function scopeRoute(route: RouteOptions): RouteScope {
  // @fastify/cors: the answer to a browser's question whether it may ask.
  const scope = route.method === 'OPTIONS' ? 'none' : scopeOfRoute(route.url, route.config?.scope);
  route.config = { ...route.config, scope };
  return scope;
}

function unauthorized(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const given = request.headers.authorization !== undefined;
  return sendProblem(request, reply.header('www-authenticate', given ? `${CHALLENGE}, error="invalid_token"` : CHALLENGE), {
    status: 401, code: 'unauthorized', detail: given ? 'the token is not known, not valid any more, or was revoked' : 'a token is needed', mend: HOW,
  });
}

function scopeMissing(request: FastifyRequest, reply: FastifyReply, token: Token, scope: string): FastifyReply {
  return sendProblem(request, reply.header('www-authenticate', `${CHALLENGE}, error="insufficient_scope", scope="${scope}"`), {
    status: 403, code: 'scope-missing', detail: `the token '${token.name}' lacks the scope ${scope}`, mend: `use one that has it: tracehouse token create --name NAME --scope ${scope}`, more: { scope },
  });
}

/** A damaged file of tokens is of no matter where none is needed. */
function callerOf(tokens: TokenFile | undefined, request: FastifyRequest, needed: boolean): Token | undefined {
  const secret = bearerOf(request);
  if (secret === undefined) return undefined;
  try {
    return tokens?.find(secret);
  } catch (error) {
    if (needed) throw error;
    return undefined;
  }
}

/** To be called before any route is registered. */
export function controlAccess(app: FastifyInstance, access: Access): void {
  const { tokens, require_token = false, rate_limit = 0 } = access;
  app.addHook('onRoute', (route) => describeAccess(route, scopeRoute(route), { require_token, is_limited: rate_limit > 0 }));
  const limit = limitRequests(app, rate_limit);
  allowOrigins(app, access.cors_origins ?? []);

  async function judge(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
    const secret = secretIn(request.url);
    if (secret !== undefined) {
      const problem: ProblemDetails = { status: 400, code: 'secret-in-url', detail: `the URL holds ${secret}: URLs are written down on their way`, mend: `${HOW}; replace a secret that was sent like this` };
      return sendProblem(request, reply, problem);
    }
    const is_needed = require_token && !isLocal(request.raw);
    const token = callerOf(tokens, request, is_needed);
    request.caller = token?.name ?? null;
    const exceeded = await limit(request);
    if (exceeded !== undefined) {
      return sendProblem(request, reply.header('retry-after', exceeded.retry_after_s), { status: 429, code: 'rate-limited', detail: 'too many requests within a minute', mend: `try again in ${exceeded.retry_after_s} s; --rate-limit of the server sets how many` });
    }
    // Nothing is there: which scope that needs, nobody can say; that it is not there is told to callers alone.
    const scope = request.is404 ? undefined : request.routeOptions.config.scope;
    if (!is_needed || scope === 'none') return undefined;
    if (token === undefined) return unauthorized(request, reply);
    return scope === undefined || token.scopes.includes(scope) ? undefined : scopeMissing(request, reply, token, scope);
  }

  // As a plugin, so that it comes after that of @fastify/cors: a page must be able to read why it was refused.
  const enforce = async (scope: FastifyInstance): Promise<void> => void scope.addHook('onRequest', judge);
  void app.register(Object.assign(enforce, { [Symbol.for('skip-override')]: true }));
}
