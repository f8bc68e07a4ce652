import { readFileSync } from 'node:fs';
import { listQueries, streamSql } from '../api/cli/http-client.ts';
import { renderRows } from '../api/cli/row-table.ts';
import { TracehouseError } from '../schema/errors.ts';
import { openSource, type SourceOptions } from './client.ts';

export interface SqlOptions {
  readonly data: string;
  readonly url?: string;
  readonly format: 'table' | 'json' | 'ndjson' | 'csv' | 'arrow' | 'parquet';
  readonly json?: boolean;
  readonly query?: string;
  readonly param?: Readonly<Record<string, string>>;
  readonly maxRows: number;
  readonly timeout: number;
}

function chosen(statement: string | undefined, query: string | undefined): string | { query: string } {
  if ((statement === undefined) === (query === undefined)) {
    throw new TracehouseError('usage', 'give either a statement or --query', { mend: '`tracehouse queries` lists what --query takes', exit_code: 2 });
  }
  if (query !== undefined) return { query };
  return statement === '-' ? readFileSync(0, 'utf8') : (statement as string);
}

/** `sql`: one statement, its rows on standard output. */
export async function sql(statement: string | undefined, options: SqlOptions): Promise<void> {
  const text = chosen(statement, options.query);
  const source = await openSource(options);
  try {
    await streamSql(source.address, {
      sql: text,
      ...(options.param === undefined ? {} : { params: options.param }),
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

/** `queries`: what --query takes. */
export async function queries(options: SourceOptions & { readonly json?: boolean }): Promise<void> {
  const source = await openSource(options);
  try {
    const found = await listQueries(source.address);
    if (options.json === true) console.log(JSON.stringify({ queries: found }));
    else {
      const columns = ['name', 'id', 'source', 'description'].map((name) => ({ name, type: 'VARCHAR' }));
      console.log(renderRows({ columns, rows: found.map(({ name, id, source: from, description }) => [name, id, from, description]), row_count: found.length, truncated: false }, process.stdout.isTTY ? Math.max(80, process.stdout.columns) : undefined));
    }
  } finally {
    await source.close();
  }
}
