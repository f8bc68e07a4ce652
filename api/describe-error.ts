// What an error is called outside: its status, its stable code, and what may be said of it.
import { STATUS_CODES } from 'node:http';
import type { FastifyError } from 'fastify';
import { isOutOfMemory } from '../ingest/duckdb-errors.ts';
import { TracehouseError } from '../schema/errors.ts';

/** HTTP status of the codes that other layers throw; what is not here is our fault and says nothing of itself. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  'invalid-request': 400, 'invalid-time': 400, 'invalid-duration': 400, 'invalid-range': 400, 'invalid-cursor': 400, 'invalid-params': 400,
  'sql-syntax': 400, 'sql-params': 400, 'sql-limit': 400, 'arrow-format': 400,
  unauthorized: 401,
  'sql-forbidden': 403, 'host-refused': 403, 'origin-refused': 403,
  'not-found': 404, 'trace-not-found': 404, 'span-not-found': 404,
  'not-acceptable': 406,
  'sql-timeout': 408, 'sql-cancelled': 408,
  'export-not-found': 404, 'query-not-found': 404,
  'query-built-in': 409, 'correlate-busy': 409, 'query-running': 409, 'export-busy': 409, 'cold-busy': 409, 'segments-changed': 409,
  'body-too-large': 413, 'cold-too-much': 413,
  'unsupported-media-type': 415, 'unsupported-encoding': 415,
  'sql-failed': 422, 'sql-memory': 422, 'sql-died': 422, 'sql-type': 422, 'batch-invalid': 422, 'batch-version': 422, 'schema-version': 422, 'export-relations': 422, 'export-query': 422, 'export-cron': 422, 'export-destination': 422, 'export-failed': 422, 'query-name': 422, 'query-limit': 422,
  'sql-busy': 429, 'ingest-busy': 429,
  'not-ready': 503, 'tokens-damaged': 503, 'files-gone': 503, 'sql-gone': 503, 'warehouse-closed': 503, 'warehouse-locked': 503, 'warehouse-read-only': 503, 'warehouse-broken': 503, 'segment-busy': 503, 'sql-incomplete': 503, 'saved-queries-damaged': 503,
  'disk-full': 507,
};

/** Fastify's own errors that have a name of ours. */
const CODE_OF_FASTIFY: Readonly<Record<string, string>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body-too-large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported-media-type',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid-request',
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid-request',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'invalid-request',
};

export interface ProblemDetails {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly mend?: string;
  readonly more?: Readonly<Record<string, unknown>>;
}

/** A TracehouseError that carries more members for its problem document. */
export class ProblemError extends TracehouseError {
  readonly more: Readonly<Record<string, unknown>>;

  constructor(code: string, message: string, options: { mend?: string; more?: Readonly<Record<string, unknown>>; cause?: unknown } = {}) {
    super(code, message, options);
    this.more = options.more ?? {};
  }
}

/** Which parameter or field, and what about it. */
function describeValidation({ validation, validationContext, message }: Partial<FastifyError>): string {
  const [first] = validation ?? [];
  const where = validationContext === 'querystring' ? 'query' : (validationContext ?? 'request');
  const extra = first?.params['additionalProperty'];
  if (first?.keyword === 'additionalProperties' && typeof extra === 'string') return `${where}: there is no parameter '${extra}'`;
  return message ?? 'the request does not match its schema';
}

export function describeError(error: unknown): ProblemDetails {
  if (error instanceof TracehouseError) {
    const status = STATUS_OF_CODE[error.code];
    if (status !== undefined) {
      return { status, code: error.code, detail: error.message, ...(error.mend === undefined ? {} : { mend: error.mend }), ...(error instanceof ProblemError ? { more: error.more } : {}) };
    }
  }
  const fastify_error = (error ?? {}) as Partial<FastifyError>;
  const { statusCode, code, message } = fastify_error;
  if (fastify_error.validation !== undefined) return { status: 400, code: 'invalid-request', detail: describeValidation(fastify_error), mend: '/docs describes each parameter' };
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return { status: statusCode, code: CODE_OF_FASTIFY[code ?? ''] ?? 'invalid-request', detail: message ?? STATUS_CODES[statusCode] ?? '' };
  }
  if (isOutOfMemory(error) || isOutOfMemory((error as Error | undefined)?.cause)) {
    return { status: 503, code: 'out-of-memory', detail: 'the question needs more memory than there is for it', mend: 'narrow its time range, or start the server with more --memory-limit' };
  }
  return { status: 500, code: 'internal', detail: 'something went wrong here; the log has it under this request id' };
}
