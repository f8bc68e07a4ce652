// Steps of one socket -> frames -> rows, for tests.
import { BatchAssembler } from '../ingest/batch-assembler.ts';
import type { AssemblerOptions } from '../ingest/batch-assembler.ts';
import type { Batch } from '../ingest/batch.ts';
import { allRows } from './batch-rows.ts';
import type { Row } from './batch-rows.ts';
import { frame, runStart } from './frames.ts';
import type { TestSocket } from './frames.ts';

/** What one end does: bytes read ('<'), bytes written ('>'), or a change of its state. */
export type Step = readonly ['<' | '>', string] | readonly ['close' | 'eof' | 'reset' | 'accept' | 'connect'];

const FIELDS = ['kind', 'direction', 'exchange_no', 'protocol', 'method', 'path', 'status', 'stream_offset', 'end_offset', 'head_bytes', 'end_reason', 'complete'] as const;

export function frames(socket: TestSocket, steps: readonly Step[]): Buffer[] {
  return steps.map((step) => {
    switch (step[0]) {
      case '<': return socket.read(step[1]);
      case '>': return socket.write(step[1]);
      case 'accept': return socket.event('accept');
      case 'connect': return socket.event('connect');
      case 'close': return socket.event('close', { old_state: 1, new_state: 4 });
      case 'eof': return socket.read('', { flags: 2 });
      case 'reset': return socket.read('', { errno: 104 });
    }
  });
}

export interface RunResult {
  readonly messages: Row[];
  readonly events: Row[];
  readonly losses: Row[];
  readonly batches: Batch[];
  readonly followed: bigint[];
  readonly let_go: bigint[];
}

/** One whole run, hello to bye. */
export function run(chunks: readonly Uint8Array[], options: Partial<AssemblerOptions> = {}): RunResult {
  const batches: Batch[] = [];
  const followed: bigint[] = [];
  const let_go: bigint[] = [];
  const assembler = new BatchAssembler({ node: 'n', keep_payload: false, keep_query: false, on_batch: (batch) => batches.push(batch), on_follow: (id, on) => (on ? followed : let_go).push(id), ...options });
  for (const chunk of [runStart(), ...chunks, frame('bye')]) assembler.push(chunk);
  return { messages: allRows(batches, 'messages'), events: allRows(batches, 'socket_events'), losses: allRows(batches, 'losses'), batches, followed, let_go };
}

/** What a message is, without times and addresses; in order of exchanges. */
export function project(rows: readonly Row[]): Row[] {
  return rows
    .map((row) => Object.fromEntries(FIELDS.map((name) => [name, typeof row[name] === 'bigint' ? Number(row[name]) : (row[name] ?? null)])))
    .sort((a, b) => Number(a['exchange_no']) - Number(b['exchange_no']) || String(a['kind']).localeCompare(String(b['kind'])));
}
