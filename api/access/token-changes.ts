// What `tracehouse token` does to the list of tokens. A secret is told once, when it is made.
import { randomBytes } from 'node:crypto';
import { TracehouseError } from '../../schema/errors.ts';
import type { Scope } from './scopes.ts';
import { hashSecret } from './token-file.ts';
import type { Token, TokenSecret } from './token-file.ts';

const NAME = /^[a-zA-Z0-9][\w.-]{0,63}$/;

export interface Made {
  readonly tokens: readonly Token[];
  /** Nobody can be told it again. */
  readonly secret: string;
}

/** The prefix lets scanners, and our own log, know one when they see it. */
export const makeSecret = (): string => `th_${randomBytes(32).toString('base64url')}`;

const stored = (secret: string, now_ms: number, lasts_ms: number | undefined): TokenSecret => ({ sha256: hashSecret(secret), created_ms: now_ms, expires_ms: lasts_ms === undefined ? null : now_ms + lasts_ms });

function requireToken(tokens: readonly Token[], name: string): Token {
  const found = tokens.find((token) => token.name === name);
  if (found === undefined) throw new TracehouseError('token-unknown', `there is no token '${name}'`, { mend: '`tracehouse token list` lists them' });
  return found;
}

/** Errors: token-name, token-exists. */
export function createToken(tokens: readonly Token[], made: { name: string; scopes: readonly Scope[]; now_ms: number; lasts_ms?: number | undefined }): Made {
  if (!NAME.test(made.name)) throw new TracehouseError('token-name', `'${made.name}' is no name of a token`, { mend: 'use letters, digits, dots, hyphens and underscores, 64 at most', exit_code: 2 });
  if (tokens.some(({ name }) => name === made.name)) throw new TracehouseError('token-exists', `there is a token '${made.name}' already`, { mend: `\`tracehouse token rotate ${made.name}\` gives it a new secret` });
  const secret = makeSecret();
  return { secret, tokens: [...tokens, { name: made.name, scopes: [...new Set(made.scopes)], secrets: [stored(secret, made.now_ms, made.lasts_ms)] }] };
}

/** It holds no longer, not for one more request. Error: token-unknown. */
export function revokeToken(tokens: readonly Token[], name: string): readonly Token[] {
  const gone = requireToken(tokens, name);
  return tokens.filter((token) => token !== gone);
}

/** The secrets of before hold for the grace period at most; the new one for as long as the last was made for. Error: token-unknown. */
export function rotateToken(tokens: readonly Token[], changed: { name: string; now_ms: number; grace_ms: number; lasts_ms?: number | undefined }): Made {
  const { now_ms } = changed;
  const token = requireToken(tokens, changed.name);
  const secret = makeSecret();
  const last = token.secrets.at(-1);
  const lasted_ms = last === undefined || last.expires_ms === null ? undefined : last.expires_ms - last.created_ms;
  const until = now_ms + changed.grace_ms;
  const old = token.secrets.map((one) => ({ ...one, expires_ms: Math.min(one.expires_ms ?? until, until) })).filter(({ expires_ms }) => expires_ms > now_ms);
  return { secret, tokens: tokens.map((one) => (one === token ? { ...token, secrets: [...old, stored(secret, now_ms, changed.lasts_ms ?? lasted_ms)] } : one)) };
}
