// Answers of user SQL as text: the contract's JSON, one JSON object a line, RFC 4180. Made here, a chunk of rows a write; or
// around rows that DuckDB has written itself.
import type { CopiedRows } from '../../queries/sql-copy.ts';
import type { SqlColumn, UserSqlStream } from '../../queries/sql-gate.ts';
import { columnCsv, columnJson, csvField } from './column-text.ts';
import type { ColumnText } from './column-text.ts';

/** Texts of a chunk's columns -> its rows, each put together by `line`. */
async function* chunkLines(stream: UserSqlStream, column_texts: readonly ColumnText[], line: (cells: string[]) => string): AsyncGenerator<string[]> {
  for await (const { chunk, row_count } of stream.chunks) {
    const columns = column_texts.map((text, column) => text(chunk, column, row_count));
    const lines: string[] = [];
    for (let row = 0; row < row_count; row++) lines.push(line(columns.map((texts) => texts[row] as string)));
    yield lines;
  }
}

const jsonHead = (query_id: string, columns: readonly SqlColumn[]): string => `{"query_id":${JSON.stringify(query_id)},"columns":${JSON.stringify(columns)},"rows":[`;

function jsonTail({ row_count, truncated, elapsed_ms }: ReturnType<UserSqlStream['progress']>): string {
  return `],"row_count":${row_count},"truncated":${truncated},"elapsed_ms":${Math.round(elapsed_ms * 1000) / 1000}}\n`;
}

export async function* sqlJson(stream: UserSqlStream): AsyncGenerator<string> {
  yield jsonHead(stream.query_id, stream.columns);
  let first = true;
  for await (const lines of chunkLines(stream, stream.column_types.map(columnJson), (cells) => `[${cells.join(',')}]`)) {
    yield `${first ? '\n' : ',\n'}${lines.join(',\n')}`;
    first = false;
  }
  yield jsonTail(stream.progress());
}

export async function* sqlNdjson(stream: UserSqlStream): AsyncGenerator<string> {
  const names = stream.columns.map(({ name }) => JSON.stringify(name));
  for await (const lines of chunkLines(stream, stream.column_types.map(columnJson), (cells) => `{${cells.map((cell, column) => `${names[column]}:${cell}`).join(',')}}\n`)) yield lines.join('');
}

const csvHead = (columns: readonly SqlColumn[]): string => `${columns.map(({ name }) => csvField(name)).join(',')}\r\n`;

export async function* sqlCsv(stream: UserSqlStream): AsyncGenerator<string> {
  yield csvHead(stream.columns);
  for await (const lines of chunkLines(stream, stream.column_types.map(columnCsv), (cells) => `${cells.join(',')}\r\n`)) yield lines.join('');
}

/** After each row DuckDB writes this. */
const JSON_ROW_END = ',\n';

/** Rows that end in JSON_ROW_END, which the last one must not: so many bytes are always held back. */
export async function* copiedJson({ columns, pieces, progress }: CopiedRows, query_id: string): AsyncGenerator<string | Uint8Array> {
  yield jsonHead(query_id, columns);
  let held: Buffer | undefined;
  for await (const piece of pieces) {
    if (held === undefined) yield '\n';
    const tail: Buffer = piece.byteLength < JSON_ROW_END.length ? Buffer.concat([held ?? Buffer.alloc(0), piece]) : piece;
    if (tail === piece && held !== undefined) yield held;
    const ready = Math.max(0, tail.byteLength - JSON_ROW_END.length);
    if (ready > 0) yield tail.subarray(0, ready);
    held = Buffer.from(tail.subarray(ready)); // the piece will be written again
  }
  yield jsonTail(progress());
}

export async function* copiedNdjson({ pieces }: CopiedRows): AsyncGenerator<string | Uint8Array> {
  yield* pieces;
}

export async function* copiedCsv({ columns, pieces }: CopiedRows): AsyncGenerator<string | Uint8Array> {
  yield csvHead(columns);
  yield* pieces;
}
