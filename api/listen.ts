// Where the API listens: a loopback address, or another that is guarded, and a socket file for the same user's command line.
import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { Server as TlsServer } from 'node:https';
import { connect, isIP } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { TracehouseError } from '../schema/errors.ts';
import { markLocal } from './access/local-requests.ts';

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

export interface Listening {
  readonly app: FastifyInstance;
  /** Of the TCP listener. */
  readonly url: string;
  /** Stops both listeners; running statements are cancelled, other requests end first. */
  close(): Promise<void>;
}

const LOOPBACK = /^(?:127(?:\.\d{1,3}){3}|::1)$/;

/** What stands between an address that others can reach and the data. */
export interface Guard {
  readonly has_token: boolean;
  /** TLS, or somebody has said that it is not needed. */
  readonly is_encrypted: boolean;
}

export const isLoopback = (host: string): boolean => LOOPBACK.test(host);

/** '127.0.0.1:7070', 'localhost:7070', '[::1]:7070'; with both guards any address of this machine. Error: listen-refused. */
export function parseListen(text: string, guard: Guard = { has_token: false, is_encrypted: false }): ListenAddress {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port > 65535) {
    throw new TracehouseError('listen-refused', `--listen ${text} is no address`, { mend: 'write HOST:PORT, such as 127.0.0.1:7070', exit_code: 2 });
  }
  const given = (match[1] ?? match[2] ?? '').toLowerCase();
  // What localhost resolves to is for /etc/hosts to say: it need not be loopback.
  const host = given === 'localhost' ? '127.0.0.1' : given;
  if (isLoopback(host)) return { host, port };
  if (isIP(host) === 0) throw new TracehouseError('listen-refused', `--listen ${text}: '${host}' is no address`, { mend: 'write an address of this machine, such as 127.0.0.1:7070 or 0.0.0.0:7070; names go to --host-name', exit_code: 2 });
  const lacks = [
    ...(guard.has_token ? [] : [['a token', '`tracehouse token create --name NAME --scope traces:read`']]),
    ...(guard.is_encrypted ? [] : [['TLS', '--tls-cert FILE --tls-key FILE (or --insecure-no-tls behind a proxy that encrypts)']]),
  ];
  if (lacks.length > 0) {
    throw new TracehouseError('listen-refused', `--listen ${text}: others can reach this address, so it needs ${lacks.map(([what]) => what).join(' and ')}`, { mend: lacks.map(([, mend]) => mend).join('; '), exit_code: 2 });
  }
  return { host, port };
}

function listenError(error: unknown, what: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return new TracehouseError('port-in-use', `${what} is in use`, { mend: 'stop what listens there, or name another with --listen', cause: error });
  if (code === 'EACCES') return new TracehouseError('port-refused', `not permitted to listen on ${what}`, { mend: 'name a port from 1024 on with --listen', cause: error });
  if (code === 'EADDRNOTAVAIL') return new TracehouseError('port-refused', `this machine has no address ${what}`, { mend: 'use 127.0.0.1:PORT', cause: error });
  return error;
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Of sun_path, with its end: what is longer would be cut off in silence. */
const LONGEST_PATH = 107;

async function listenOnFile(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > LONGEST_PATH) throw new TracehouseError('socket-path', `${path} is too long for a socket file`, { mend: 'name a data folder with a shorter path' });
  if (await answers(path)) throw new TracehouseError('socket-in-use', `${path} is in use`, { mend: 'another tracehouse runs on this data folder' });
  rmSync(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // The file must never exist with more permissions than 0600.
    const before = process.umask(0o177);
    try {
      server.listen({ path }, resolve);
    } finally {
      process.umask(before);
    }
  });
  chmodSync(path, 0o600);
}

const LINGER_MS = 5000;

/** Requests under way are answered; connections that only wait for a next one are not waited for. */
async function closeAll(app: FastifyInstance, servers: readonly Server[]): Promise<void> {
  const until = performance.now() + LINGER_MS;
  const timer = setInterval(() => {
    for (const server of servers) {
      if (performance.now() < until) server.closeIdleConnections();
      else server.closeAllConnections();
    }
  }, 50);
  try {
    await Promise.all([app.close(), ...servers.filter((server) => server !== app.server && server.listening).map((server) => new Promise((resolve) => server.close(resolve)))]);
  } finally {
    clearInterval(timer);
  }
}

/** Errors: port-in-use, port-refused, socket-in-use, socket-path. */
export async function listenBoth(build: () => FastifyInstance, places: { address: ListenAddress; socket_path?: string }): Promise<Listening> {
  const app = build();
  const { host, port } = places.address;
  const shown = host.includes(':') ? `[${host}]` : host;
  const local = createServer((request, response) => {
    markLocal(request);
    app.routing(request, response);
  });
  try {
    await app.ready();
    await app.listen({ host, port }).catch((error: unknown) => {
      throw listenError(error, `${shown}:${port}`);
    });
    if (places.socket_path !== undefined) await listenOnFile(local, places.socket_path);
  } catch (error) {
    await closeAll(app, [app.server, local]);
    throw error;
  }
  return {
    app,
    url: `${app.server instanceof TlsServer ? 'https' : 'http'}://${shown}:${(app.server.address() as AddressInfo).port}`,
    close: async () => {
      await closeAll(app, [app.server, local]);
      if (places.socket_path !== undefined) rmSync(places.socket_path, { force: true });
    },
  };
}
