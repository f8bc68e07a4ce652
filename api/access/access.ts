import type { AuditLog } from './audit-log.ts';
import type { TokenFile } from './token-file.ts';

/** Who may reach the API, and how. Left out, it is for its own machine alone and asks for nothing. */
export interface Access {
  readonly tokens?: TokenFile;
  /** Of every request that does not come over the socket file. */
  readonly require_token?: boolean;
  /** Names in the Host header besides those of loopback and the address that was called; lower case. */
  readonly host_names?: readonly string[];
  /** Pages of these origins may call it. */
  readonly cors_origins?: readonly string[];
  /** PEM */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
  /** Requests a minute of one token, or of one address; 0 = no limit. */
  readonly rate_limit?: number;
  readonly audit?: AuditLog;
}
