import { userInfo } from 'node:os';
import { AuditLog } from '../api/access/audit-log.ts';
import { createToken, revokeToken, rotateToken } from '../api/access/token-changes.ts';
import { TokenFile } from '../api/access/token-file.ts';
import type { Token } from '../api/access/token-file.ts';
import type { Scope } from '../api/access/scopes.ts';
import { renderRows } from '../api/cli/row-table.ts';
import { dropToOwner, ensureDataFolder } from './privileges.ts';

export interface TokenOptions {
  readonly data: string;
  readonly json?: boolean;
}

export interface CreateTokenOptions extends TokenOptions {
  readonly name: string;
  readonly scope: readonly Scope[];
  readonly expires?: bigint;
}

export interface RotateTokenOptions extends TokenOptions {
  readonly grace: bigint;
  readonly expires?: bigint;
}

const msOf = (ns: bigint | undefined): number | undefined => (ns === undefined ? undefined : Number(ns / 1_000_000n));
const timeOf = (ms: number | null | undefined): string | null => (ms === null || ms === undefined ? null : new Date(ms).toISOString());

/** The server that runs there as the folder's owner must be able to read what is written. */
function openTokens(options: TokenOptions): { tokens: TokenFile; told(detail: string): void } {
  ensureDataFolder(options.data);
  dropToOwner(options.data);
  const audit = new AuditLog({ folder: options.data, log: (line) => console.error(`tracehouse: ${line}`) });
  return {
    tokens: new TokenFile(options.data),
    told: (detail) => {
      audit.write({ time: new Date().toISOString(), action: 'token', token: null, address: 'command line', detail: `${detail}, by uid ${userInfo().uid}`, outcome: 'ok' });
      audit.close();
    },
  };
}

/** The secret alone goes to standard output, so that it can go on into a file. */
function tell(options: TokenOptions, name: string, secret: string): void {
  if (options.json === true) console.log(JSON.stringify({ name, token: secret }));
  else {
    console.error(`The token '${name}'; it is shown this once:`);
    console.log(secret);
  }
}

export async function create(options: CreateTokenOptions): Promise<void> {
  const { tokens, told } = openTokens(options);
  let secret = '';
  await tokens.change((all) => {
    const made = createToken(all, { name: options.name, scopes: options.scope, now_ms: Date.now(), lasts_ms: msOf(options.expires) });
    ({ secret } = made);
    return made.tokens;
  });
  told(`created '${options.name}' with ${options.scope.join(', ')}`);
  tell(options, options.name, secret);
}

export async function rotate(name: string, options: RotateTokenOptions): Promise<void> {
  const { tokens, told } = openTokens(options);
  const grace_ms = Number(options.grace / 1_000_000n);
  let secret = '';
  await tokens.change((all) => {
    const made = rotateToken(all, { name, now_ms: Date.now(), grace_ms, lasts_ms: msOf(options.expires) });
    ({ secret } = made);
    return made.tokens;
  });
  told(`rotated '${name}'`);
  tell(options, name, secret);
  if (options.json !== true) console.error(grace_ms === 0 ? 'The one before holds no longer.' : `The one before holds until ${timeOf(Date.now() + grace_ms)} at most.`);
}

export async function revoke(name: string, options: TokenOptions): Promise<void> {
  const { tokens, told } = openTokens(options);
  await tokens.change((all) => revokeToken(all, name));
  told(`revoked '${name}'`);
  if (options.json === true) console.log(JSON.stringify({ name }));
  else console.error(`'${name}' holds no longer.`);
}

function shown({ name, scopes, secrets }: Token, now_ms: number) {
  const [old, last] = [secrets.slice(0, -1), secrets.at(-1)];
  const until = Math.max(0, ...old.map(({ expires_ms }) => expires_ms ?? 0));
  return { name, scopes, created_at: timeOf(secrets[0]?.created_ms), expires_at: timeOf(last?.expires_ms), expired: last === undefined || (last.expires_ms !== null && last.expires_ms <= now_ms), old_secret_until: until > now_ms ? timeOf(until) : null };
}

export async function list(options: TokenOptions): Promise<void> {
  const found = new TokenFile(options.data).all().map((token) => shown(token, Date.now()));
  if (options.json === true) console.log(JSON.stringify({ tokens: found }));
  else {
    const columns = ['name', 'scopes', 'created', 'expires', 'old secret until'].map((name) => ({ name, type: 'VARCHAR' }));
    console.log(renderRows({ columns, rows: found.map((token) => [token.name, token.scopes.join(' '), token.created_at, token.expired ? `${token.expires_at} (expired)` : token.expires_at, token.old_secret_until]), row_count: found.length, truncated: false }, process.stdout.isTTY ? Math.max(80, process.stdout.columns) : undefined));
  }
}
