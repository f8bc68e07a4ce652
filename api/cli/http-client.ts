// The verbs' side of the API: over TCP or over the socket file in a data folder, the same requests.
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { pipeline } from 'node:stream/promises';
import type { Writable } from 'node:stream';
import { TracehouseError } from '../../schema/errors.ts';
import type { Trace, TraceSummary } from '../trace-json.ts';
import { renderRows } from './row-table.ts';
import type { SqlAnswer } from './row-table.ts';

export type Address = { readonly url: string; readonly token?: string } | { readonly socket_path: string };

export interface HttpRequest {
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

const shown = (address: Address): string => ('url' in address ? address.url : address.socket_path);

function unreachable(address: Address, error: unknown): TracehouseError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new TracehouseError('unreachable', `cannot reach ${shown(address)}: ${code ?? message}`, { mend: 'is `tracehouse up` or `serve` running there?', cause: error });
}

/** The answer's head; its body streams. Error: unreachable. */
export function openRequest(address: Address, { method = 'GET', path, headers = {}, body }: HttpRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const authorization = 'url' in address && address.token !== undefined ? { authorization: `Bearer ${address.token}` } : {};
    const options = { method, headers: { ...headers, ...authorization, ...(body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }) } };
    const request =
      'socket_path' in address
        ? httpRequest({ ...options, socketPath: address.socket_path, path, headers: { host: 'localhost', ...options.headers } })
        : (address.url.startsWith('https:') ? httpsRequest : httpRequest)(new URL(path, `${address.url}/`), options);
    request.once('response', resolve);
    request.once('error', (error) => reject(unreachable(address, error)));
    request.end(body);
  });
}

async function readText(address: Address, response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  try {
    for await (const piece of response) text += piece;
  } catch (error) {
    throw new TracehouseError('answer-broken', `the answer of ${shown(address)} broke off: ${(error as Error).message}`, { mend: 'the log there says why', cause: error });
  }
  return text;
}

export async function requestText(address: Address, request: HttpRequest): Promise<HttpAnswer> {
  const response = await openRequest(address, request);
  return { status: response.statusCode ?? 0, body: await readText(address, response) };
}

/** What the problem document of a failed request says. */
function problemError({ status, body }: HttpAnswer): TracehouseError {
  try {
    const { code, detail, mend } = JSON.parse(body) as { code?: string; detail?: string; mend?: string };
    if (code !== undefined && detail !== undefined) return new TracehouseError(code, detail, mend === undefined ? {} : { mend });
  } catch {
    // No problem document: something else answers there.
  }
  return new TracehouseError('answer', `the answer was ${status}: ${body.slice(0, 300)}`, { mend: 'is this a tracehouse?' });
}

async function requestJson<T>(address: Address, path: string): Promise<T> {
  const answer = await requestText(address, { path });
  if (answer.status !== 200) throw problemError(answer);
  return JSON.parse(answer.body) as T;
}

export interface TraceListQuery {
  readonly service?: string;
  readonly operation?: string;
  /** ns since 1970 */
  readonly start?: bigint;
  readonly end?: bigint;
  readonly min_duration?: string;
  readonly max_duration?: string;
  readonly error?: boolean;
  readonly sort?: string;
  readonly limit: number;
}

export interface TraceList {
  readonly traces: TraceSummary[];
  readonly searched: { readonly start: string; readonly end: string; readonly missing_files: number };
  readonly next_cursor: string | null;
}

const MOST_A_PAGE = 1000;

/** Follows the pages up to query.limit. */
export async function listTraces(address: Address, query: TraceListQuery): Promise<TraceList> {
  const { limit, ...filters } = query;
  const traces: TraceSummary[] = [];
  let page: TraceList | undefined;
  do {
    const parameters = new URLSearchParams({ limit: String(Math.min(limit - traces.length, MOST_A_PAGE)) });
    for (const [name, value] of Object.entries(filters)) if (value !== undefined) parameters.set(name, String(value));
    if (typeof page?.next_cursor === 'string') parameters.set('cursor', page.next_cursor);
    page = await requestJson<TraceList>(address, `/api/v1/traces?${parameters}`);
    traces.push(...page.traces);
  } while (page.next_cursor !== null && traces.length < limit);
  return { ...page, traces };
}

export function getTrace(address: Address, trace_id: string, max_spans = 1000): Promise<Trace> {
  if (!/^[0-9a-f]{32}$/i.test(trace_id)) throw new TracehouseError('trace-id', `'${trace_id}' is no trace id`, { mend: 'a trace id has 32 hex digits; `tracehouse traces` lists some', exit_code: 2 });
  return requestJson<Trace>(address, `/api/v1/traces/${trace_id}?max_spans=${max_spans}`);
}

export interface ListedQuery {
  readonly id: string;
  readonly name: string;
  readonly source: string;
  readonly description: string | null;
}

/** Follows the pages to the last. */
export async function listQueries(address: Address): Promise<ListedQuery[]> {
  const queries: ListedQuery[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: { queries: ListedQuery[]; next_cursor: string | null } = await requestJson(address, `/api/v1/queries?limit=1000${cursor === '' ? '' : `&cursor=${cursor}`}`);
    queries.push(...page.queries);
    cursor = page.next_cursor;
  }
  return queries;
}

/** The most that a statement may ask of the server; undefined where the token is not for that question. */
export async function sqlLimits(address: Address): Promise<{ timeout_ms: number; max_rows: number } | undefined> {
  const answer = await requestText(address, { path: '/api/v1/schema' });
  if (answer.status === 403) return undefined;
  if (answer.status !== 200) throw problemError(answer);
  const { limits } = JSON.parse(answer.body) as { limits: Record<'timeout_ms' | 'max_rows', { max: number }> };
  return { timeout_ms: limits.timeout_ms.max, max_rows: limits.max_rows.max };
}

export type SqlOutput = 'table' | 'json' | 'ndjson' | 'csv' | 'arrow' | 'parquet';

export interface SqlRun {
  /** A statement, or name or id of a query that the server knows. */
  readonly sql: string | { readonly query: string };
  readonly format: SqlOutput;
  readonly max_rows?: number;
  readonly timeout_ms?: number;
  readonly params?: readonly unknown[] | Readonly<Record<string, unknown>>;
  readonly out: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  /** For people, not part of the answer: what was left out. */
  readonly on_note?: (line: string) => void;
}

function sqlRequest({ sql, format, max_rows, timeout_ms, params }: SqlRun): HttpRequest {
  const limits = { ...(max_rows === undefined ? {} : { max_rows }), ...(timeout_ms === undefined ? {} : { timeout_ms }) };
  const text_format = format === 'table' ? 'json' : format;
  if (typeof sql !== 'string') {
    const search = new URLSearchParams({ format: text_format, ...Object.fromEntries(Object.entries(limits).map(([name, value]) => [name, String(value)])), ...(params === undefined ? {} : { params: JSON.stringify(params) }) });
    return { path: `/api/v1/queries/${encodeURIComponent(sql.query)}/run?${search}` };
  }
  return { method: 'POST', path: `/api/v1/sql?format=${text_format}`, headers: { 'content-type': 'application/json' }, body: JSON.stringify({ sql, ...limits, ...(params === undefined ? {} : { params }) }) };
}

/** Writes the answer to `out` as it comes, and does not end it. Errors: those of the API, answer-broken, binary-output. */
export async function streamSql(address: Address, run: SqlRun): Promise<void> {
  const { format, out, on_note } = run;
  if (out.isTTY === true && (format === 'arrow' || format === 'parquet')) {
    throw new TracehouseError('binary-output', `${format} is not for a terminal`, { mend: `send it to a file: > rows.${format}`, exit_code: 2 });
  }
  const response = await openRequest(address, sqlRequest(run));
  if (response.statusCode !== 200) throw problemError({ status: response.statusCode ?? 0, body: await readText(address, response) });
  if (format === 'table') {
    const answer = JSON.parse(await readText(address, response)) as SqlAnswer;
    out.write(`${renderRows(answer, out.isTTY === true ? Math.max(80, out.columns ?? 80) : undefined)}\n`);
  } else {
    try {
      await pipeline(response, out, { end: false });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EPIPE') throw error;
      throw new TracehouseError('answer-broken', `the answer broke off: ${(error as Error).message}`, { mend: 'what was written is not whole', cause: error });
    }
  }
  const missing = response.headers['tracehouse-missing-files'];
  if (missing !== undefined) on_note?.(`exported files of these relations that are elsewhere and were not read: ${String(missing)}; \`tracehouse fetch\` brings them`);
  const missing_since = response.headers['tracehouse-missing-since'];
  if (missing_since !== undefined) on_note?.(`what was stored since ${String(missing_since)} may be missing: the newest rows could not be had just now; ask again in a moment`);
  if (response.trailers['tracehouse-truncated'] === 'true') on_note?.(`there are more than these ${response.trailers['tracehouse-row-count']} rows: --max-rows takes more`);
}
