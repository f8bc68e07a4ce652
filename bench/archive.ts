// node archive.js FOLDER: takes what `collect` sends as a warehouse does, and keeps it as files. Each batch is decoded, checked and
// on disk before it is acknowledged, and counted once however often it is sent. GET / answers with the counts.
import { readdirSync, statSync } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import http from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { decodeBatches } from '../ingest/arrow-format.ts';
import type { Batch } from '../ingest/batch.ts';

/** Older files give way, as in an archive that has a limit. */
const MOST_BYTES = 2 ** 30;

export interface ArchiveCounts {
  batches: number;
  duplicates: number;
  /** Reads and writes that moved bytes. */
  calls: number;
  bytes: number;
  /** By cause, as the batches' own rows of losses say. */
  lost: Record<string, number>;
  error: string | null;
}

const counts: ArchiveCounts = { batches: 0, duplicates: 0, calls: 0, bytes: 0, lost: {}, error: null };
const known = new Set<string>();
const kept: { path: string; bytes: number }[] = [];
let kept_bytes = 0;

function countCalls({ tables: { socket_events } }: Batch): number {
  const { op, bytes } = socket_events.columns;
  if (op?.type !== 'dict' || bytes?.type !== 'int64') return 0;
  const moves = op.dictionary.map((name) => name === 'read' || name === 'write');
  let calls = 0;
  for (let row = 0; row < socket_events.rows; row += 1) if (moves[op.indices[row] as number] === true && bytes.values[row] !== 0n) calls += 1;
  return calls;
}

function countLosses({ tables: { losses } }: Batch): void {
  const { cause, events_lost } = losses.columns;
  if (cause?.type !== 'dict' || events_lost?.type !== 'int64') return;
  for (let row = 0; row < losses.rows; row += 1) {
    const name = cause.dictionary[cause.indices[row] as number] ?? '';
    counts.lost[name] = (counts.lost[name] ?? 0) + Number(events_lost.values[row]);
  }
}

async function keep(folder: string, name: string, body: Uint8Array): Promise<void> {
  const path = join(folder, `${name}.arrows`);
  const file = await open(path, 'w');
  try {
    await file.writeFile(body);
    await file.datasync();
  } finally {
    await file.close();
  }
  kept.push({ path, bytes: body.length });
  kept_bytes += body.length;
  for (let oldest = kept[0]; kept_bytes > MOST_BYTES && oldest !== undefined; oldest = kept[0]) {
    kept.shift();
    kept_bytes -= oldest.bytes;
    await unlink(oldest.path);
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const body = Buffer.allocUnsafe(Number(request.headers['content-length']));
  let at = 0;
  for await (const part of request) at += (part as Buffer).copy(body, at);
  if (at !== body.length) throw new Error(`${at} bytes of ${body.length}`);
  return body;
}

async function take(folder: string, request: IncomingMessage): Promise<void> {
  const body = await bodyOf(request);
  const fresh = decodeBatches(body).filter((batch) => {
    const name = `${batch.node} ${batch.boot_id} ${batch.run_id} ${batch.sequence}`;
    const is_fresh = !known.has(name);
    if (!is_fresh) counts.duplicates += 1;
    return is_fresh;
  });
  const [first] = fresh;
  if (first === undefined) return;
  await keep(folder, `${first.run_id}-${first.sequence}`, body);
  counts.bytes += body.length;
  for (const batch of fresh) {
    known.add(`${batch.node} ${batch.boot_id} ${batch.run_id} ${batch.sequence}`);
    counts.batches += 1;
    counts.calls += countCalls(batch);
    countLosses(batch);
  }
}

const [folder = '.'] = process.argv.slice(2);
if (!statSync(folder).isDirectory() || readdirSync(folder).length > 0) throw new Error(`${folder} is no empty folder`);
const server = http.createServer((request, response) => {
  if (request.method !== 'POST') {
    response.end(JSON.stringify(counts));
    return;
  }
  take(folder, request).then(
    () => response.end('{}'),
    (error: unknown) => {
      counts.error = (error as Error).message;
      response.writeHead(500).end(counts.error);
    },
  );
});
server.listen(0, '127.0.0.1', () => console.log(`archive http://127.0.0.1:${(server.address() as AddressInfo).port}`));
