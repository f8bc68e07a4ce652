import { setTimeout as sleep } from 'node:timers/promises';
import { requestText } from '../api/cli/http-client.ts';
import type { HttpRequest } from '../api/cli/http-client.ts';
import { TracehouseError } from '../schema/errors.ts';
import { runningSource, type Source, type SourceOptions } from './client.ts';

export interface FetchOptions extends SourceOptions {
  readonly from?: bigint;
  readonly to?: bigint;
  readonly relation?: readonly string[];
  readonly json?: boolean;
}

interface Progress {
  readonly files: number;
  readonly of_files: number;
  readonly bytes: number;
  readonly of_bytes: number;
}

interface State {
  readonly away: { readonly files: number; readonly bytes: number; readonly rows: number };
  readonly cache: { readonly bytes: number; readonly limit_bytes: number };
  readonly fetching: Progress | null;
  readonly last_error: string | null;
}

const ASK_EVERY_MS = 300;
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

async function ask({ address }: Source, request: HttpRequest): Promise<State> {
  const { status, body } = await requestText(address, request);
  const answer = JSON.parse(body) as State & { code: string; detail: string; mend?: string };
  if (status >= 300) throw new TracehouseError(answer.code, answer.detail, answer.mend === undefined ? {} : { mend: answer.mend });
  return answer;
}

/** `fetch`: exported files that are elsewhere, into the cache of a running tracehouse, where SQL reads them too. */
export async function fetchCold(options: FetchOptions): Promise<void> {
  const running = await runningSource(options);
  if (running === undefined) throw new TracehouseError('not-running', `no tracehouse runs over ${options.data}`, { mend: 'start `tracehouse serve`, or name one with --url' });
  try {
    const range = { ...(options.from === undefined ? {} : { start: String(options.from) }), ...(options.to === undefined ? {} : { end: String(options.to) }) };
    const body = JSON.stringify({ ...range, ...(options.relation === undefined ? {} : { relations: options.relation }) });
    let state = await ask(running, { method: 'POST', path: '/api/v1/cold', headers: { 'content-type': 'application/json' }, body });
    const wanted = state.fetching;
    const path = `/api/v1/cold?${new URLSearchParams(range)}`;
    for (; state.fetching !== null; state = await ask(running, { path })) {
      const { files, of_files, bytes, of_bytes } = state.fetching;
      if (process.stderr.isTTY) process.stderr.write(`\r${files} of ${of_files} files, ${megabytes(bytes)} of ${megabytes(of_bytes)} `);
      await sleep(ASK_EVERY_MS);
    }
    if (process.stderr.isTTY && wanted !== null) process.stderr.write('\r');
    if (state.last_error !== null) throw new TracehouseError('cold-failed', state.last_error, { mend: 'what has come stays; ask again when the place can be reached' });
    if (options.json === true) console.log(JSON.stringify(state));
    else console.log(`${wanted?.of_files ?? 0} files fetched; of this time ${state.away.files === 0 ? 'everything is here' : `${state.away.files} files (${megabytes(state.away.bytes)}) are still elsewhere`}; the cache holds ${megabytes(state.cache.bytes)} of ${megabytes(state.cache.limit_bytes)}`);
  } finally {
    await running.close();
  }
}
