// The truth as an Arrow file of its own, streamed: span_id, parent_span_id (null: a root), is_server, request, shape, path.
import { Bool, Dictionary, Field, Int32, Int64, RecordBatch, RecordBatchFileWriter, RecordBatchReader, Schema, Struct, Utf8, Vector, makeData } from 'apache-arrow';
import type { Data } from 'apache-arrow';
import { closeSync, openSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { BytesBuilder } from '../../ingest/bytes-builder.ts';
import { BoolBuilder, Int32Builder, Int64Builder } from '../../ingest/column-builder.ts';
import type { ColumnData } from '../../ingest/batch.ts';
import { spanKey } from '../../test/accuracy/tree.ts';
import { APPS } from './apps.ts';
import type { App } from './apps.ts';
import type { TruthSink } from './truth.ts';

const ROWS = 65_536;
const SHAPES = APPS.map(({ label }) => label);

function utf8(texts: readonly string[]): Data<Utf8> {
  const data = new TextEncoder().encode(texts.join(''));
  const valueOffsets = new Int32Array(texts.length + 1);
  texts.forEach((text, at) => (valueOffsets[at + 1] = (valueOffsets[at] as number) + Buffer.byteLength(text)));
  return makeData({ type: new Utf8(), length: texts.length, nullCount: 0, valueOffsets, data });
}

const SHAPE_TYPE = new Dictionary(new Utf8(), new Int32(), 1);
const SCHEMA = new Schema([
  new Field('span_id', new Int64(), false), new Field('parent_span_id', new Int64(), true), new Field('is_server', new Bool(), false), new Field('request', new Int64(), false),
  new Field('shape', SHAPE_TYPE, false), new Field('path', new Utf8(), false),
]);

class FileBytes extends RecordBatchFileWriter {
  readonly #chunks: Uint8Array[] = [];

  protected override _write(chunk: ArrayBufferView): this {
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (bytes.length > 0) this.#chunks.push(bytes);
    this._position += bytes.length;
    return this;
  }

  take(): Uint8Array[] {
    return this.#chunks.splice(0);
  }
}

export class TruthFile implements TruthSink {
  readonly #file: number;
  readonly #arrow = new FileBytes();
  readonly #shapes = new Vector([utf8(SHAPES)]);
  readonly #c = { span_id: new Int64Builder(), parent: new Int64Builder(), is_server: new BoolBuilder(), request: new Int64Builder(), shape: new Int32Builder(), path: new BytesBuilder('text') };
  #rows = 0;

  constructor(path: string) {
    this.#file = openSync(path, 'w');
    this.#renew();
    this.#arrow.reset(undefined, SCHEMA);
  }

  add(span_low: number, span_high: number, parent_low: number, parent_high: number, is_server: boolean, request: number, app: App, path: string): void {
    const row = this.#rows++;
    const c = this.#c;
    c.span_id.set(row, span_low, span_high);
    c.parent.setUnlessZero(row, parent_low, parent_high);
    c.is_server.set(row, is_server);
    c.request.setNumber(row, request);
    c.shape.set(row, SHAPES.indexOf(app.label));
    c.path.setText(row, path);
    if (this.#rows === ROWS) this.#cut();
  }

  #cut(): void {
    const length = this.#rows;
    this.#rows = 0;
    const int64 = (data: ColumnData): Data<Int64> => makeData({ type: new Int64(), length, ...(data.validity === null ? { nullCount: 0 } : { nullBitmap: data.validity }), data: (data as ColumnData & { type: 'int64' }).values });
    const bits = new Uint8Array((length + 7) >> 3);
    const is_server = (this.#c.is_server.take(length) as ColumnData & { type: 'bool' }).values;
    for (let row = 0; row < length; row += 1) if (is_server[row] === 1) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
    const path = this.#c.path.take(length) as ColumnData & { type: 'text' };
    const children = [
      int64(this.#c.span_id.take(length)), int64(this.#c.parent.take(length)), makeData({ type: new Bool(), length, nullCount: 0, data: bits }), int64(this.#c.request.take(length)),
      makeData({ type: SHAPE_TYPE, length, nullCount: 0, data: (this.#c.shape.take(length) as ColumnData & { type: 'int32' }).values, dictionary: this.#shapes }),
      makeData({ type: new Utf8(), length, nullCount: 0, valueOffsets: path.offsets, data: path.data }),
    ];
    this.#arrow.write(new RecordBatch(SCHEMA, makeData({ type: new Struct(SCHEMA.fields), length, nullCount: 0, children })));
    this.#flush();
    this.#renew();
  }

  #renew(): void {
    for (const column of Object.values(this.#c)) column.renew(ROWS);
  }

  #flush(): void {
    for (const bytes of this.#arrow.take()) for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
  }

  close(): void {
    if (this.#rows > 0) this.#cut();
    this.#arrow.finish();
    this.#flush();
    closeSync(this.#file);
  }
}

export interface TruthRow {
  readonly key: string;
  readonly span_id: bigint;
  readonly parent_span_id: bigint | null;
  readonly request: number;
  readonly shape: string;
}

/** In the order in which the requests were sent. */
export async function* readTruth(path: string): AsyncGenerator<TruthRow, void> {
  const file = await open(path, 'r');
  try {
    const reader = await RecordBatchReader.from(file);
    for await (const record of reader) {
      const column = (name: string): Vector => record.getChild(name) as Vector;
      const [ids, parents, servers, requests, shapes, paths] = ['span_id', 'parent_span_id', 'is_server', 'request', 'shape', 'path'].map(column) as [Vector, Vector, Vector, Vector, Vector, Vector];
      for (let row = 0; row < record.numRows; row += 1) {
        yield { key: spanKey(String(paths.get(row)), servers.get(row) === true ? 'server' : 'client'), span_id: ids.get(row) as bigint, parent_span_id: parents.get(row) as bigint | null, request: Number(requests.get(row)), shape: String(shapes.get(row)) };
      }
    }
  } finally {
    await file.close();
  }
}
