import { readFileSync } from 'node:fs';
import { streamSql } from '../api/cli/http-client.ts';
import { openSource } from './client.ts';

export interface SqlOptions {
  readonly data: string;
  readonly url?: string;
  readonly format: 'table' | 'json' | 'ndjson' | 'csv' | 'arrow' | 'parquet';
  readonly json?: boolean;
  readonly maxRows: number;
  readonly timeout: number;
}

/** `sql`: one statement, its rows on standard output. */
export async function sql(statement: string, options: SqlOptions): Promise<void> {
  const text = statement === '-' ? readFileSync(0, 'utf8') : statement;
  const source = await openSource(options);
  try {
    await streamSql(source.address, {
      sql: text,
      format: options.json === true ? 'json' : options.format,
      max_rows: options.maxRows,
      timeout_ms: Math.round(options.timeout * 1000),
      out: process.stdout,
      on_note: (line) => console.error(line),
    });
  } finally {
    await source.close();
  }
}
