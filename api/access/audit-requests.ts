import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuditAction, AuditLog } from './audit-log.ts';
import { AuditRepeats } from './audit-repeats.ts';
import { isLocal } from './local-requests.ts';

export interface AuditNote {
  readonly sql?: string;
  /** Asked for when the answer has ended. */
  readonly rows?: () => number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Name of the token that it was made with. */
    caller: string | null;
    /** What a route knows and the request does not say. */
    audit_note: AuditNote | null;
    /** Of the problem that it was answered with. */
    problem_code: string | null;
  }
}

const REFUSED = new Set(['unauthorized', 'scope-missing', 'host-refused', 'origin-refused', 'rate-limited', 'secret-in-url', 'tokens-damaged']);

function actionOf(request: FastifyRequest): AuditAction | undefined {
  if (request.problem_code !== null && REFUSED.has(request.problem_code)) return 'refused';
  const { url, config } = request.routeOptions;
  switch (config.scope) {
    case 'sql:run':
      return 'sql';
    case 'export:write':
      return 'export';
    case 'ingest:write':
      return 'ingest';
    case 'admin':
      return url === '/api/v1/correlate' ? 'correlate' : 'admin';
    default:
      return undefined;
  }
}

function textOf(value: unknown, name: string): string | undefined {
  const found = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
  return typeof found === 'string' ? found : undefined;
}

/** What of its body is worth a line; statements are told apart. */
function detailOf(action: AuditAction, body: unknown): string | undefined {
  return (action === 'export' || action === 'correlate' || action === 'admin') && typeof body === 'object' && body !== null && !Buffer.isBuffer(body) ? JSON.stringify(body) : undefined;
}

function rowsOf(note: AuditNote | null): number | undefined {
  try {
    return note?.rows?.();
  } catch {
    return undefined;
  }
}

const outcomeOf = (action: AuditAction, reply: FastifyReply) => (action === 'refused' ? 'refused' : reply.statusCode >= 400 ? 'failed' : reply.raw.writableFinished ? 'ok' : 'broken_off');

/** A line for every request that reads by SQL, changes something, or is refused. */
export function auditRequests(app: FastifyInstance, audit: AuditLog | undefined): void {
  app.decorateRequest('caller', null).decorateRequest('audit_note', null).decorateRequest('problem_code', null);
  if (audit === undefined) return;
  const repeats = new AuditRepeats((entry) => audit.write(entry));
  app.addHook('onResponse', async (request, reply) => {
    const action = actionOf(request);
    if (action === undefined) return;
    const sql = request.audit_note?.sql ?? (action === 'sql' ? (textOf(request.body, 'sql') ?? textOf(request.query, 'q')) : undefined);
    const detail = detailOf(action, request.body);
    const rows = rowsOf(request.audit_note);
    const entry = {
      time: new Date().toISOString(), action, request_id: request.id, token: request.caller, address: isLocal(request.raw) ? 'socket' : (request.ip ?? null),
      method: request.method, path: request.url.split('?', 1)[0] ?? '',
      ...(sql === undefined ? {} : { sql }), ...(detail === undefined ? {} : { detail }),
      duration_ms: Math.round(reply.elapsedTime * 10) / 10, ...(rows === undefined ? {} : { rows }),
      status: reply.statusCode, outcome: outcomeOf(action, reply), ...(request.problem_code === null ? {} : { code: request.problem_code }),
    } as const;
    if (action === 'ingest' || action === 'refused') repeats.add(entry);
    else audit.write(entry);
  });
  app.addHook('onClose', async () => {
    repeats.close();
    audit.close();
  });
}
