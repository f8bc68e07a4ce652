// A server on loopback can be reached by every page that the user's browser shows. Such a page must not be able to read
// from it (DNS rebinding: its name suddenly means 127.0.0.1) nor to make it work (requests across sites).
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { TracehouseError } from '../schema/errors.ts';
import type { Access } from './access/access.ts';

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

const firstOf = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);

type Named = Pick<Access, 'host_names' | 'cors_origins'>;

/** A name that was given, or the address that was called: no page has made it up. */
function isOurs(host: string, { host_names = [] }: Named, request: FastifyRequest): boolean {
  if (LOOPBACK_HOST.test(host)) return true;
  if (!/^(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?$/i.test(host) || !URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  const called = request.raw.socket.localAddress?.replace(/^::ffff:(?=\d+\.)/, '');
  return host_names.includes(hostname) || (called !== undefined && hostname === (called.includes(':') ? `[${called}]` : called));
}

/** By somebody, in a window of its own: a frame runs a question too, and how long that takes tells of its answer. */
function isFollowedLink({ headers }: FastifyRequest): boolean {
  return firstOf(headers['sec-fetch-mode']) === 'navigate' && firstOf(headers['sec-fetch-dest']) === 'document' && firstOf(headers['sec-fetch-user']) === '?1';
}

/** Throws host-refused or origin-refused. */
function requireOurs(request: FastifyRequest, named: Named): void {
  const { host, origin } = request.headers;
  if (host === undefined || !isOurs(host, named, request)) {
    throw new TracehouseError('host-refused', `the host '${host ?? ''}' is not served here`, { mend: 'ask for localhost, 127.0.0.1 or [::1], or start the server with --host-name' });
  }
  if (origin !== undefined && named.cors_origins?.includes(origin) === true) return;
  if (origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === host.toLowerCase())) {
    throw new TracehouseError('origin-refused', `pages of ${origin} may not use this server`);
  }
  const site = firstOf(request.headers['sec-fetch-site']);
  if ((site === 'cross-site' || site === 'same-site') && !isFollowedLink(request)) {
    throw new TracehouseError('origin-refused', 'pages from elsewhere may not use this server');
  }
}

export function guardLoopback(app: FastifyInstance, access: Access): void {
  const headers = access.tls === undefined ? HEADERS : { ...HEADERS, 'strict-transport-security': 'max-age=31536000' };
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(headers).header('x-request-id', request.id);
    requireOurs(request, access);
  });
}
