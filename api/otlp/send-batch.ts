// One batch of spans to a collector, again and again until it is taken or refused for good.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { decodeExportResponse, encodeTraces } from '../formats/otlp-protobuf.ts';
import type { PartialSuccess } from '../formats/otlp-protobuf.ts';
import type { OtlpTraces } from '../formats/otlp-json.ts';
import type { OtlpTarget } from './target.ts';

export interface SendOptions {
  /** Gives a request up that is under way. */
  readonly signal: AbortSignal;
  readonly timeout_ms: number;
  /** Rejects when there is to be no other try. */
  wait(ms: number): Promise<void>;
  /** Before each try but the first. */
  on_retry(reason: string, wait_ms: number): void;
}

/** refused: the collector will never take this batch. */
export type SendResult = { readonly status: 'taken'; readonly rejected: number; readonly message: string } | { readonly status: 'refused'; readonly reason: string };

/** It is the data that is wrong; all else (a token, a path, a proxy, load) can mend itself or be mended, and then the same batch is taken. */
const REFUSED = new Set([400, 413, 422]);
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 60_000;
/** Whatever the collector asks for: beyond 2^31 ms a timer ends at once. */
const ASKED_MS = { least: 1000, most: 3_600_000 };
const MOST_ANSWER_BYTES = 65_536;

async function encodeBatch(target: OtlpTarget, traces: OtlpTraces): Promise<Uint8Array> {
  const body = target.protocol === 'protobuf' ? encodeTraces(traces) : Buffer.from(JSON.stringify(traces));
  return target.compression === 'gzip' ? promisify(gzip)(body) : body;
}

/** Of seconds, or a date. */
export function retryAfterMs(text: string | null, now_ms: number): number | undefined {
  if (text === null) return undefined;
  const asked_ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - now_ms;
  return Number.isNaN(asked_ms) ? undefined : Math.min(Math.max(asked_ms, ASKED_MS.least), ASKED_MS.most);
}

async function answerOf(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += (part as Uint8Array).length;
    if (size > MOST_ANSWER_BYTES) break;
    parts.push(part as Uint8Array);
  }
  return Buffer.concat(parts);
}

function partialSuccess(content_type: string | null, body: Uint8Array): PartialSuccess {
  try {
    const answer = content_type?.startsWith('application/json') === true ? (JSON.parse(Buffer.from(body).toString()) as { partialSuccess?: PartialSuccess }) : decodeExportResponse(body);
    return answer.partialSuccess ?? {};
  } catch {
    return {}; // it was taken, whatever it says about that
  }
}

type Attempt = SendResult | { readonly status: 'failed'; readonly reason: string; readonly retry_after_ms: number | undefined };

async function attempt(target: OtlpTarget, body: Uint8Array, options: SendOptions): Promise<Attempt> {
  const headers = {
    ...target.headers,
    'content-type': target.protocol === 'protobuf' ? 'application/x-protobuf' : 'application/json',
    'user-agent': 'tracehouse',
    ...(target.compression === 'gzip' ? { 'content-encoding': 'gzip' } : {}),
  };
  let response: Response;
  let answer: Uint8Array;
  try {
    // Headers may hold secrets: they follow no redirect.
    response = await fetch(target.url, { method: 'POST', headers, body: body as Uint8Array<ArrayBuffer>, redirect: 'manual', signal: AbortSignal.any([options.signal, AbortSignal.timeout(options.timeout_ms)]) });
    answer = await answerOf(response);
  } catch (error) {
    options.signal.throwIfAborted();
    const { cause, message } = error as Error;
    return { status: 'failed', reason: cause instanceof Error ? `${message}: ${cause.message}` : message, retry_after_ms: undefined };
  }
  if (response.ok) {
    const { rejectedSpans = 0, errorMessage = '' } = partialSuccess(response.headers.get('content-type'), answer);
    return { status: 'taken', rejected: Number(rejectedSpans), message: errorMessage };
  }
  const reason = `HTTP ${response.status}`;
  return REFUSED.has(response.status) ? { status: 'refused', reason } : { status: 'failed', reason, retry_after_ms: retryAfterMs(response.headers.get('retry-after'), Date.now()) };
}

/** Settles when the collector has answered for good; rejects when it was given up. The bytes are the same at each try. */
export async function sendBatch(target: OtlpTarget, traces: OtlpTraces, options: SendOptions): Promise<SendResult> {
  const body = await encodeBatch(target, traces);
  for (let tries = 0; ; tries++) {
    const result = await attempt(target, body, options);
    if (result.status !== 'failed') return result;
    const backoff_ms = Math.min(FIRST_WAIT_MS * 2 ** tries, LONGEST_WAIT_MS) * (0.5 + Math.random() / 2);
    const wait_ms = Math.round(result.retry_after_ms ?? backoff_ms);
    options.on_retry(result.reason, wait_ms);
    await options.wait(wait_ms);
  }
}
