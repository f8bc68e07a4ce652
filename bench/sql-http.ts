// A million rows of ad-hoc SQL through HTTP, in each format, against DuckDB writing what the same statement answers to a file.
// The client is curl, which throws it away; DuckDB cannot write Arrow (the extension is not to be had offline), so that stands
// beside uncompressed Parquet, the nearest that it can, and CSV.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildApp } from '../api/app.ts';
import type { SqlFormatName } from '../api/formats/sql-formats.ts';
import { SqlPool } from '../api/sql-worker/pool.ts';
import { sqlText } from '../ingest/duckdb-instance.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { alternate, figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { SPANS_A_FILE, addSpans } from './stored-spans.ts';

const ROWS = 1_000_000;
const STATEMENT = 'SELECT trace_id, span_id, parent_span_id, service_name, span_name, start_time, duration_ns, http_response_status_code, complete FROM spans';

interface Sent {
  readonly ms: number;
  readonly bytes: number;
}

async function fetchAll(url: string, format: SqlFormatName): Promise<Sent> {
  const started = performance.now();
  const body = JSON.stringify({ sql: STATEMENT, max_rows: ROWS, timeout_ms: 60_000 });
  const { stdout } = await promisify(execFile)('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code} %{size_download}', '-H', 'content-type: application/json', '-d', body, `${url}?format=${format}`]);
  const ms = performance.now() - started;
  const [status, size] = stdout.split(' ');
  if (status !== '200') throw new Error(`${format}: ${stdout}`);
  return { ms, bytes: Number(size) };
}

interface Compared {
  readonly format: SqlFormatName;
  readonly as: string;
  readonly options: string;
  readonly goal: boolean;
}

/** The issue sets a goal for CSV and Arrow; the others are told beside them. */
const COMPARED: readonly Compared[] = [
  { format: 'csv', as: 'DuckDB writing CSV', options: 'FORMAT csv, HEADER', goal: true },
  { format: 'arrow', as: 'DuckDB writing uncompressed Parquet', options: 'FORMAT parquet, COMPRESSION uncompressed', goal: true },
  { format: 'arrow', as: 'DuckDB writing CSV', options: 'FORMAT csv, HEADER', goal: false },
  { format: 'ndjson', as: 'DuckDB writing JSON lines', options: 'FORMAT json', goal: false },
  { format: 'json', as: 'DuckDB writing a JSON array', options: 'FORMAT json, ARRAY true', goal: false },
  { format: 'parquet', as: 'DuckDB writing zstd Parquet', options: 'FORMAT parquet, COMPRESSION zstd', goal: false },
];

/** `all`: formats without a goal, too. */
export async function measureSqlHttp(rounds: number, all: boolean): Promise<Figure[]> {
  const compared = COMPARED.filter(({ goal }) => all || goal);
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, threads: 2 });
  const sql = new SqlPool(warehouse);
  const app = buildApp({ warehouse, sql });
  const connection = await warehouse.connect();
  try {
    for (let file = 0; file < ROWS / SPANS_A_FILE; file++) await addSpans(warehouse, file);
    await app.listen({ port: 0, host: '127.0.0.1' });
    const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/api/v1/sql`;
    const write = async (options: string): Promise<number> => {
      const started = performance.now();
      await connection.run(`COPY (${STATEMENT}) TO ${sqlText(join(folder, 'tmp', 'reference'))} (${options})`);
      return performance.now() - started;
    };
    const formats = [...new Set(compared.map(({ format }) => format))];
    const references = [...new Set(compared.map(({ options }) => options))];
    for (const format of formats) await fetchAll(url, format); // warm
    for (const options of references) await write(options);
    const taken = await alternate(rounds, {
      ...Object.fromEntries(formats.map((format) => [format, () => fetchAll(url, format)])),
      ...Object.fromEntries(references.map((options) => [options, () => write(options)])),
    });
    return compared.map(({ format, as, options, goal }) => {
      const sent = taken[format] as Sent[];
      return figure({
        figure: 'sql_http', variant: `${format}, a million rows of nine columns`, unit: 'ms', values: sent.map(({ ms }) => ms), reference: { what: as, values: taken[options] as number[] },
        ...(goal ? { goal: { of: 'ratio', at_most: 1.5 } } : {}), notes: { mb: rounded((sent[0]?.bytes ?? 0) / 1e6) },
      });
    });
  } finally {
    connection.closeSync();
    await app.close();
    await sql.close();
    await warehouse.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
