// Answers of user SQL as text: the contract's JSON, one JSON object a line, RFC 4180. A chunk of rows is one write.
import type { UserSqlStream } from '../../queries/sql-gate.ts';
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

export async function* sqlJson(stream: UserSqlStream): AsyncGenerator<string> {
  yield `{"query_id":${JSON.stringify(stream.query_id)},"columns":${JSON.stringify(stream.columns)},"rows":[`;
  let first = true;
  for await (const lines of chunkLines(stream, stream.column_types.map(columnJson), (cells) => `[${cells.join(',')}]`)) {
    yield `${first ? '\n' : ',\n'}${lines.join(',\n')}`;
    first = false;
  }
  const { row_count, truncated, elapsed_ms } = stream.progress();
  yield `],"row_count":${row_count},"truncated":${truncated},"elapsed_ms":${Math.round(elapsed_ms * 1000) / 1000}}\n`;
}

export async function* sqlNdjson(stream: UserSqlStream): AsyncGenerator<string> {
  const names = stream.columns.map(({ name }) => JSON.stringify(name));
  for await (const lines of chunkLines(stream, stream.column_types.map(columnJson), (cells) => `{${cells.map((cell, column) => `${names[column]}:${cell}`).join(',')}}\n`)) yield lines.join('');
}

export async function* sqlCsv(stream: UserSqlStream): AsyncGenerator<string> {
  yield `${stream.columns.map(({ name }) => csvField(name)).join(',')}\r\n`;
  for await (const lines of chunkLines(stream, stream.column_types.map(columnCsv), (cells) => `${cells.join(',')}\r\n`)) yield lines.join('');
}
