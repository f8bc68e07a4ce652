// Where a verb's answers come from: a running tracehouse (--url, or DIR/tracehouse.sock); else the same application is
// started over the data folder, read-only, on a socket of its own, so that every verb speaks HTTP and nothing else.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Address } from '../api/cli/http-client.ts';
import { TracehouseError } from '../schema/errors.ts';
import { clientToken, requirePlainUrl, type ClientTokenOptions } from './client-token.ts';

export interface Source {
  readonly address: Address;
  close(): Promise<void>;
}

export interface SourceOptions extends ClientTokenOptions {
  readonly data: string;
  readonly url?: string;
}

/** A socket file may be left over from a killed process: only one that answers counts. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** The running tracehouse of this folder or URL, if there is one. */
export async function runningSource(options: SourceOptions): Promise<Source | undefined> {
  const close = async (): Promise<void> => undefined;
  if (options.url !== undefined) {
    const url = requirePlainUrl('--url', options.url);
    const token = clientToken(url, options);
    return { address: { url: options.url.replace(/\/$/, ''), ...(token === undefined ? {} : { token }) }, close };
  }
  const socket_path = join(options.data, 'tracehouse.sock');
  return existsSync(socket_path) && (await answers(socket_path)) ? { address: { socket_path }, close } : undefined;
}

/** Error: data-folder. */
export function requireDataFolder(folder: string): void {
  if (!existsSync(folder)) throw new TracehouseError('data-folder', `there is no data folder ${folder}`, { mend: 'name it with --data, or a running tracehouse with --url; `tracehouse up` makes one' });
}

/** Of statements over a folder that nobody serves: whoever asks waits alone. */
const OWN_LIMITS = { timeout_ms: 86_400_000, max_rows: 1e9, at_once: 4 } as const;

/** The running tracehouse, or the folder itself, opened for reading only. */
export async function openSource(options: SourceOptions): Promise<Source> {
  const running = await runningSource(options);
  if (running !== undefined) return running;
  requireDataFolder(options.data);
  const { Warehouse } = await import('../ingest/warehouse.ts');
  const { buildApp } = await import('../api/app.ts');
  const { runHere } = await import('../api/sql-answer.ts');
  const warehouse = await Warehouse.open({ folder: options.data, read_only: true });
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-'));
  const app = await buildApp({ warehouse, sql: runHere(warehouse, OWN_LIMITS) });
  const socket_path = join(folder, 'api.sock');
  await app.listen({ path: socket_path });
  return {
    address: { socket_path },
    close: async () => {
      await app.close();
      await warehouse.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
