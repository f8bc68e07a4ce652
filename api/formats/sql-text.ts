// Answers of user SQL as text: the contract's JSON, one JSON object a line, RFC 4180.
import { JsonDuckDBValueConverter } from '@duckdb/node-api';
import type { UserSqlStream } from '../../queries/sql-gate.ts';

/** Rows go out a chunk at a time: one write for some two thousand. */
export async function* sqlJson(stream: UserSqlStream): AsyncGenerator<string> {
  yield `{"query_id":${JSON.stringify(stream.query_id)},"columns":${JSON.stringify(stream.columns)},"rows":[`;
  let first = true;
  for await (const { chunk, row_count } of stream.chunks) {
    const lines: string[] = [];
    for (let row = 0; row < row_count; row++) lines.push(JSON.stringify(chunk.convertRowValues(row, JsonDuckDBValueConverter)));
    yield `${first ? '\n' : ',\n'}${lines.join(',\n')}`;
    first = false;
  }
  const { row_count, truncated, elapsed_ms } = stream.progress();
  yield `],"row_count":${row_count},"truncated":${truncated},"elapsed_ms":${Math.round(elapsed_ms * 1000) / 1000}}\n`;
}

export async function* sqlNdjson(stream: UserSqlStream): AsyncGenerator<string> {
  const names = stream.columns.map(({ name }) => JSON.stringify(name));
  for await (const { chunk, row_count } of stream.chunks) {
    const lines: string[] = [];
    for (let row = 0; row < row_count; row++) {
      const values = chunk.convertRowValues(row, JsonDuckDBValueConverter);
      lines.push(`{${values.map((value, column) => `${names[column]}:${JSON.stringify(value)}`).join(',')}}\n`);
    }
    yield lines.join('');
  }
}

/** An empty field is null; an empty text is "". */
function csvField(value: unknown): string {
  if (value === null || value === undefined) return '';
  const text = String(value);
  return text === '' || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export async function* sqlCsv(stream: UserSqlStream): AsyncGenerator<string> {
  yield `${stream.columns.map(({ name }) => csvField(name)).join(',')}\r\n`;
  for await (const { chunk, row_count } of stream.chunks) {
    const lines: string[] = [];
    for (let row = 0; row < row_count; row++) lines.push(`${chunk.getRowValues(row).map(csvField).join(',')}\r\n`);
    yield lines.join('');
  }
}
