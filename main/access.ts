// What the command line says of access, for the server.
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Access } from '../api/access/access.ts';
import { AuditLog } from '../api/access/audit-log.ts';
import { TokenFile } from '../api/access/token-file.ts';
import { isLoopback, parseListen } from '../api/listen.ts';
import type { ListenAddress } from '../api/listen.ts';
import { TracehouseError } from '../schema/errors.ts';

export interface AccessSettings {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecureNoTls?: boolean;
  readonly requireToken?: boolean;
  readonly hostName?: readonly string[];
  readonly corsOrigin?: readonly string[];
  readonly rateLimit?: number;
  readonly auditSql?: 'text' | 'hash';
}

/** Settings whose files are read. */
export type AccessRequest = Pick<Access, 'tls' | 'host_names' | 'cors_origins' | 'rate_limit'> & Pick<AccessSettings, 'insecureNoTls' | 'requireToken' | 'auditSql'>;

const RATE_LIMIT = 600;

function readPem(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new TracehouseError('tls', `cannot read the ${what} ${path}: ${(error as Error).message}`, { mend: 'name a PEM file that may be read', cause: error });
  }
}

function readTls({ tlsCert, tlsKey }: AccessSettings): Access['tls'] {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) throw new TracehouseError('tls', `--tls-${tlsCert === undefined ? 'cert' : 'key'} is missing`, { mend: 'name both: --tls-cert FILE --tls-key FILE', exit_code: 2 });
  const tls = { cert: readPem(tlsCert, 'certificate'), key: readPem(tlsKey, 'key') };
  try {
    createSecureContext(tls);
  } catch (error) {
    throw new TracehouseError('tls', `${tlsCert} and ${tlsKey} are no certificate with its key: ${(error as Error).message}`, { mend: 'name PEM files, the key without a passphrase', cause: error });
  }
  return tls;
}

/** While this process may still read them: its files may be root's alone. Error: tls. */
export function readAccess(settings: AccessSettings): AccessRequest {
  const tls = readTls(settings);
  return {
    host_names: settings.hostName ?? [], cors_origins: settings.corsOrigin ?? [],
    ...(tls === undefined ? {} : { tls }),
    ...(settings.rateLimit === undefined ? {} : { rate_limit: settings.rateLimit }),
    insecureNoTls: settings.insecureNoTls === true, requireToken: settings.requireToken === true, auditSql: settings.auditSql ?? 'text',
  };
}

/** Where to listen, and who is let in there. Errors: listen-refused, tokens-damaged. */
export function openAccess(asked: AccessRequest, place: { listen: string; folder: string; log: (line: string) => void }): { address: ListenAddress; access: Access } {
  const tokens = new TokenFile(place.folder);
  const has_token = tokens.valid > 0;
  const address = parseListen(place.listen, { has_token, is_encrypted: asked.tls !== undefined || asked.insecureNoTls === true });
  const is_open = isLoopback(address.host);
  if (asked.requireToken === true && !has_token) {
    throw new TracehouseError('listen-refused', '--require-token: there is no token yet', { mend: '`tracehouse token create --name NAME --scope traces:read` makes one', exit_code: 2 });
  }
  const { host_names = [], cors_origins = [], rate_limit = is_open ? 0 : RATE_LIMIT, tls } = asked;
  const audit = new AuditLog({ folder: place.folder, log: place.log, ...(asked.auditSql === undefined ? {} : { sql: asked.auditSql }) });
  return { address, access: { tokens, require_token: !is_open || asked.requireToken === true, host_names, cors_origins, rate_limit, audit, ...(tls === undefined ? {} : { tls }) } };
}
