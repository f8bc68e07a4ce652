import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Field, Int32, Int64, RecordBatch, RecordBatchStreamWriter, Schema, Struct, makeData } from 'apache-arrow';
import { afterAll, describe, expect, test } from 'vitest';
import { decodeBatches, encodeBatches } from '../ingest/arrow-format.ts';
import { BatchAssembler } from '../ingest/batch-assembler.ts';
import type { Batch } from '../ingest/batch.ts';
import { openRecordingWriter, readRecording } from '../ingest/recording.ts';
import { TracehouseError } from '../schema/errors.ts';
import { RELATION_NAMES, SCHEMA_VERSION } from '../schema/relations.ts';
import { rowsOf } from './batch-rows.ts';
import { TestSocket, frame, runStart } from './frames.ts';

const folder = mkdtempSync(join(tmpdir(), 'arrow-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Batches with something in every table, nulls of each type, new dictionary values in each, and an empty one. */
function someBatches(count = 4): Batch[] {
  const batches: Batch[] = [];
  const assembler = new BatchAssembler({ node: 'knoten-ä', keep_payload: true, keep_query: false, on_batch: (batch) => batches.push(batch), now_ms: 0 });
  const socket = new TestSocket();
  assembler.push(runStart());
  assembler.push(frame('process', { process_id: 401n, pid: 400, exe: '/usr/bin/python3', cmdline: 'python3 /srv/app.py', started_mono_ns: -5n, comm: 'python3' }));
  assembler.push(frame('stack', { stack_id: 99n, frame_count: 1, frames: Buffer.alloc(32, 7) }));
  for (let n = 0; n < count; n += 1) {
    for (let i = 0; i <= n * 5; i += 1) {
      assembler.push(socket.read(`GET /größe/${n}/${i} HTTP/1.1\r\nHost: host-${n}\r\n\r\n`, { comm: `thread-${i}` }));
      assembler.push(socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', n === 1 ? { flags: 8, fd: -1 } : {}));
    }
    assembler.push(frame('thread_event', { mono_ns: 5n, thread_id: 1n, process_id: 2n, op: 4, comm: 'waker' }));
    assembler.push(frame('loss', { from_mono_ns: 1n, to_mono_ns: 2n, events_lost: 3n, cpu: n - 1, cause: 1 }));
    assembler.push(frame('watermark', { mono_ns: BigInt(n + 1) * 1_000_000n }));
    assembler.tick((n + 1) * 1000);
  }
  assembler.push(frame('bye'));
  return batches;
}

const plain = (batch: Batch): unknown => ({ ...batch, tables: Object.fromEntries(RELATION_NAMES.map((name) => [name, rowsOf(batch.tables[name])])) });

function failure(run: () => unknown): TracehouseError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(TracehouseError);
    return error as TracehouseError;
  }
  throw new Error('it did not fail');
}

async function readAll(path: string): Promise<{ batches: Batch[]; error: TracehouseError | undefined }> {
  const batches: Batch[] = [];
  try {
    for await (const batch of readRecording(path)) batches.push(batch);
  } catch (error) {
    expect(error).toBeInstanceOf(TracehouseError);
    return { batches, error: error as TracehouseError };
  }
  return { batches, error: undefined };
}

/** Returns what closes it: until then the file is what a killed recorder leaves. */
async function recordOpen(path: string, batches: readonly Batch[]): Promise<() => Promise<void>> {
  const writer = await openRecordingWriter(path);
  for (const batch of batches) await writer.write(batch);
  return () => writer.close();
}

async function record(path: string, batches: readonly Batch[]): Promise<void> {
  await (await recordOpen(path, batches))();
}

describe('stream', () => {
  test('gives back every value', () => {
    const batches = someBatches();
    expect(batches.length).toBeGreaterThan(4);
    const decoded = decodeBatches(encodeBatches(batches));
    expect(decoded.map(plain)).toEqual(batches.map(plain));
    expect(decodeBatches(encodeBatches([]))).toEqual([]);
  });

  test('survives memory that is not aligned, and being written again', () => {
    const batches = someBatches();
    const bytes = encodeBatches(batches);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    const decoded = decodeBatches(shifted.subarray(3));
    expect(decodeBatches(encodeBatches(decoded)).map(plain)).toEqual(batches.map(plain));
  });

  test('columns that an older writer did not have stay away, or null when written again', () => {
    const [batch] = someBatches(1) as [Batch];
    const { path: _path, traceparent: _traceparent, comm: _comm, errno: _errno, ...columns } = batch.tables.messages.columns;
    const older = { ...batch, tables: { ...batch.tables, messages: { rows: batch.tables.messages.rows, columns } } };
    const [decoded] = decodeBatches(encodeBatches([older])) as [Batch];
    expect(rowsOf(decoded.tables.messages).every((row) => row['path'] === null && row['comm'] === null && row['method'] !== undefined)).toBe(true);
  });

  test('a newer schema version is refused by name', () => {
    const [batch] = someBatches(1) as [Batch];
    const error = failure(() => decodeBatches(encodeBatches([{ ...batch, schema_version: SCHEMA_VERSION + 1 }])));
    expect(error.code).toBe('schema-version');
    expect(error.message).toContain(String(SCHEMA_VERSION + 1));
    expect(error.mend).toContain('update');
  });

  test('other Arrow data is refused, saying what is missing', () => {
    const schema = new Schema([new Field('x', new Int64(), false)]);
    const data = makeData({ type: new Struct(schema.fields), length: 1, nullCount: 0, children: [makeData({ type: new Int64(), data: BigInt64Array.of(1n) })] });
    const bytes = RecordBatchStreamWriter.writeAll([new RecordBatch(schema, data)]).toUint8Array(true);
    expect(failure(() => decodeBatches(bytes)).message).toContain('schema_version');
    const other = new Schema([new Field('schema_version', new Int64(), false)]);
    const wrong = makeData({ type: new Struct(other.fields), length: 1, nullCount: 0, children: [makeData({ type: new Int64(), data: BigInt64Array.of(1n) })] });
    expect(failure(() => decodeBatches(RecordBatchStreamWriter.writeAll([new RecordBatch(other, wrong)]).toUint8Array(true))).message).toMatch(/schema_version is of type/);
    expect(new Int32().bitWidth).toBe(32);
  });

  test('what lies outside its column is refused with column and row', () => {
    const [, batch] = someBatches(2) as [Batch, Batch];
    const { messages } = batch.tables;
    const broken = (name: string, column: object): Batch => ({ ...batch, tables: { ...batch.tables, messages: { ...messages, columns: { ...messages.columns, [name]: { ...messages.columns[name], ...column } } } } }) as Batch;
    const required = failure(() => decodeBatches(encodeBatches([broken('ts_ns', { validity: Uint8Array.of(0b11111011, 255) })])));
    expect(required.message).toContain('messages.ts_ns is null at row 2');
    const path = messages.columns['path'];
    if (path?.type !== 'text') throw new Error('path is text');
    const falling = path.offsets.slice();
    falling[3] = 0;
    expect(failure(() => decodeBatches(encodeBatches([broken('path', { offsets: falling })]))).message).toMatch(/messages\.path has offsets that fall at row 3/);
    const beyond = path.offsets.slice();
    beyond[beyond.length - 1] = 1e6;
    expect(failure(() => decodeBatches(encodeBatches([broken('path', { offsets: beyond })]))).code).toBe('arrow-format');
  });

  test('cut off or altered anywhere: one clear error or the same batches, never another exception', () => {
    const batches = someBatches(2);
    const bytes = encodeBatches(batches);
    const whole = new Set<number>();
    for (let length = 0; length < bytes.length; length += 211) {
      try {
        whole.add(decodeBatches(bytes.subarray(0, length)).length);
      } catch (error) {
        expect((error as TracehouseError).code).toBe('arrow-format');
        expect((error as TracehouseError).mend).toBeDefined();
      }
    }
    let seed = 7;
    const random = (below: number): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;
    for (let round = 0; round < 120; round += 1) {
      const altered = bytes.slice();
      for (let n = 0; n <= random(3); n += 1) altered[random(altered.length)] = random(256);
      try {
        decodeBatches(altered);
      } catch (error) {
        expect(['arrow-format', 'schema-version'], String((error as Error).stack)).toContain((error as TracehouseError).code);
      }
    }
  });
});

describe('recording', () => {
  test('gives back every value, closed or not', async () => {
    const batches = someBatches();
    const path = join(folder, 'whole.arrow');
    await record(path, batches);
    expect((await readAll(path)).batches.map(plain)).toEqual(batches.map(plain));
    const close = await recordOpen(path, batches);
    const unclosed = await readAll(path);
    await close();
    expect(unclosed.error).toBeUndefined();
    expect(unclosed.batches.map(plain)).toEqual(batches.map(plain));
    await record(path, []);
    expect(await readAll(path)).toEqual({ batches: [], error: undefined });
  });

  test('cut off within a batch: what was whole comes first, then the error that counts it', async () => {
    const batches = someBatches();
    const path = join(folder, 'cut.arrow');
    const close = await recordOpen(path, batches.slice(0, 3));
    const size = statSync(path).size;
    await close();
    await record(path, batches);
    truncateSync(path, size + 100);
    const { batches: read, error } = await readAll(path);
    expect(read.map(plain)).toEqual(batches.slice(0, 3).map(plain));
    expect(error?.code).toBe('arrow-format');
    expect(error?.message).toMatch(/cut\.arrow is cut off at byte \d+; 3 batches/);
    expect(error?.mend).toBeDefined();
  });

  test.each([['empty', ''], ['Parquet', 'PAR1 and more'], ['text', 'GET / HTTP/1.1\r\n']])('a file that is %s is refused', async (name, content) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    const { batches, error } = await readAll(path);
    expect(batches).toEqual([]);
    expect(error?.code).toBe('arrow-format');
    expect(error?.message).toContain(path);
  });

  test('a missing file and an unwritable one are named', async () => {
    expect((await readAll(join(folder, 'nowhere'))).error?.code).toBe('recording');
    await expect(openRecordingWriter(join(folder, 'no', 'where'))).rejects.toMatchObject({ code: 'recording' });
  });

  test('pyarrow reads file and stream, dictionaries and all', async (context) => {
    const python = process.env['TRACEHOUSE_PYTHON'] ?? 'python3';
    try {
      execFileSync(python, ['-c', 'import pyarrow'], { stdio: 'ignore' });
    } catch {
      console.log(`skipped: ${python} has no pyarrow (set TRACEHOUSE_PYTHON to one that has)`);
      context.skip();
    }
    const batches = someBatches();
    const path = join(folder, 'pyarrow.arrow');
    await record(path, batches);
    writeFileSync(`${path}s`, encodeBatches(batches));
    const script = `
import json, sys, pyarrow.ipc as ipc
for table in (ipc.open_file(sys.argv[1]).read_all(), ipc.open_stream(sys.argv[1] + 's').read_all()):
    table.validate(full=True)
    print(json.dumps([{k: [r[k] for r in b] for k in ('path', 'host', 'comm', 'status', 'complete', 'first_tid')} for b in table.column('messages').to_pylist()]))
    print(json.dumps(table.column('sequence').to_pylist()))
`;
    const lines = execFileSync(python, ['-c', script, path], { encoding: 'utf8' }).trim().split('\n').map((line) => JSON.parse(line) as unknown);
    const expected = batches.map((batch) => Object.fromEntries(['path', 'host', 'comm', 'status', 'complete', 'first_tid'].map((name) => [name, rowsOf(batch.tables.messages).map((row) => row[name])])));
    const sequence = batches.map((batch) => Number(batch.sequence));
    expect(lines).toEqual([expected, sequence, expected, sequence]);
  });
});
