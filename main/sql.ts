import { readFileSync } from 'node:fs';
import { listQueries, sqlLimits, streamSql } from '../api/cli/http-client.ts';
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
  readonly maxRows?: number;
  readonly timeout?: number;
}

const TIMEOUT_S = 60;

/** Error: usage, where more is asked for than the server allows. */
function requireAllowed(flag: string, asked: number | undefined, most: number, setting: string): void {
  if (asked === undefined || asked <= most) return;
  throw new TracehouseError('usage', `${flag} ${asked} is more than the ${most} that the server allows`, { mend: `ask for less, or have it started with a larger ${setting}`, exit_code: 2 });
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
  const run = (timeout_ms: number): Promise<void> =>
    streamSql(source.address, {
      sql: text,
      ...(options.param === undefined ? {} : { params: options.param }),
      format: options.json === true ? 'json' : options.format,
      ...(options.maxRows === undefined ? {} : { max_rows: options.maxRows }),
      timeout_ms: Math.max(1, Math.round(timeout_ms)),
      out: process.stdout,
      on_note: (line) => console.error(line),
    });
  const { timeout = TIMEOUT_S } = options;
  try {
    await run(timeout * 1000).catch(async (error: unknown) => {
      if (!(error instanceof TracehouseError && error.code === 'invalid-request')) throw error;
      const most = await sqlLimits(source.address);
      if (most === undefined) throw error;
      requireAllowed('--timeout', options.timeout, most.timeout_ms / 1000, '--sql-timeout');
      requireAllowed('--max-rows', options.maxRows, most.max_rows, '--sql-max-rows');
      if (timeout * 1000 <= most.timeout_ms) throw error;
      await run(most.timeout_ms);
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
