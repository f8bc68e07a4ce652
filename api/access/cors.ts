import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';

/** Pages of exactly these origins may read answers. What they send is judged like anybody's. */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  void app.register(cors, {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'DELETE'],
    allowedHeaders: ['authorization', 'content-type', 'accept', 'x-request-id'],
    exposedHeaders: ['x-request-id', 'retry-after', 'tracehouse-query-id'],
    maxAge: 600,
  });
}
