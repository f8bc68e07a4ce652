// A server on loopback can be reached by every page that the user's browser shows. Such a page must not be able to read
// from it (DNS rebinding: its name suddenly means 127.0.0.1) nor to make it work (requests across sites).
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { TracehouseError } from '../schema/errors.ts';

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const firstOf = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);

/** Throws host-refused or origin-refused. */
export function requireLocal(request: Pick<FastifyRequest, 'headers'>): void {
  const { host, origin } = request.headers;
  if (host === undefined || !LOOPBACK_HOST.test(host)) {
    throw new TracehouseError('host-refused', `the host '${host ?? ''}' is not served here`, { mend: 'ask for localhost, 127.0.0.1 or [::1]' });
  }
  if (origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host.toLowerCase())) {
    throw new TracehouseError('origin-refused', `pages of ${origin} may not use this server`);
  }
  const site = firstOf(request.headers['sec-fetch-site']);
  if ((site === 'cross-site' || site === 'same-site') && firstOf(request.headers['sec-fetch-mode']) !== 'navigate') {
    throw new TracehouseError('origin-refused', 'pages from elsewhere may not use this server');
  }
}

export function guardLoopback(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS).header('x-request-id', request.id);
    requireLocal(request);
  });
}
