import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isLocal } from './local-requests.ts';

/** A collector sends four batches a second, and more when it catches up. */
const INGEST_FACTOR = 10;

export type Limiter = (request: FastifyRequest) => Promise<{ retry_after_s: number } | undefined>;

/** Counts requests by token, or by address where there is none; ingest with a token apart, by both. Undefined: the request may pass. */
export function limitRequests(app: FastifyInstance, a_minute: number): Limiter {
  if (a_minute === 0) return async () => undefined;
  type Check = ReturnType<FastifyInstance['createRateLimit']>;
  let checks: { token: Check; address: Check; ingest: Check } | undefined;
  const isIngest = (request: FastifyRequest): boolean => request.routeOptions.config.scope === 'ingest:write';
  void app.register(rateLimit, { global: false, timeWindow: 60_000 });
  app.after(() => {
    checks = {
      token: app.createRateLimit({ max: a_minute, keyGenerator: (request) => `token ${request.caller}` }),
      // As the plugin has it: an address, or the /64 that it is from.
      address: app.createRateLimit({ max: a_minute }),
      ingest: app.createRateLimit({ max: a_minute * INGEST_FACTOR, keyGenerator: (request) => `ingest ${request.caller ?? ''} ${request.ip}` }),
    };
  });
  return async (request) => {
    if (checks === undefined || isLocal(request.raw)) return undefined;
    const limit = await (request.caller === null ? checks.address : isIngest(request) ? checks.ingest : checks.token)(request);
    return !limit.isAllowed && limit.isExceeded ? { retry_after_s: Math.max(1, limit.ttlInSeconds) } : undefined;
  };
}
