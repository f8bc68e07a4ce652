import { resolve } from 'node:path';
import { requestText } from '../api/cli/http-client.ts';
import type { Address } from '../api/cli/http-client.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { isFolder } from '../queries/export/destination.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { TracehouseError } from '../schema/errors.ts';
import { requireDataFolder, runningSource, type SourceOptions } from './client.ts';
import { dropToOwner, makeForOwner, requireWritable } from './privileges.ts';

export interface ExportOptions extends SourceOptions {
  readonly to: string;
  readonly since?: bigint;
  readonly relation?: readonly string[];
  readonly json?: boolean;
  readonly memoryLimit: string;
}

interface Done {
  readonly files: number;
  readonly rows: string;
  readonly bytes: string;
}

async function ask<T>(address: Address, path: string, body?: object): Promise<T> {
  const answer = await requestText(address, { method: 'POST', path, ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }) });
  if (answer.status >= 300) {
    const { detail, mend } = JSON.parse(answer.body) as { detail: string; mend?: string };
    throw new TracehouseError('export', detail, mend === undefined ? {} : { mend });
  }
  return JSON.parse(answer.body) as T;
}

/** `export`: Parquet now; what an earlier call has written to the same place is not written again. */
export async function exportNow(options: ExportOptions): Promise<void> {
  const request = { destination: isFolder(options.to) ? resolve(options.to) : options.to, ...(options.relation === undefined ? {} : { relations: options.relation }) };
  const running = await runningSource(options);
  let done: Done;
  if (running !== undefined) {
    const { export_id } = await ask<{ export_id: string }>(running.address, '/api/v1/exports', request);
    done = await ask<Done>(running.address, `/api/v1/exports/${export_id}/run${options.since === undefined ? '' : `?since_ns=${options.since}`}`);
    await running.close();
  } else {
    requireDataFolder(options.data);
    if (isFolder(options.to)) makeForOwner(request.destination, options.data);
    dropToOwner(options.data);
    if (isFolder(options.to)) requireWritable(request.destination);
    const warehouse = await Warehouse.open({ folder: options.data, memory_limit: options.memoryLimit });
    try {
      const scheduler = new ExportScheduler(warehouse);
      const { export_id } = await scheduler.add(request);
      const { files, rows, bytes } = await scheduler.run(export_id, options.since);
      done = { files, rows: String(rows), bytes: String(bytes) };
    } finally {
      await warehouse.close();
    }
  }
  console.log(options.json === true ? JSON.stringify(done) : `${done.rows} rows in ${done.files} files, ${done.bytes} bytes, to ${options.to}`);
}
