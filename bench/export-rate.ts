// Spans to Parquet by an export, from its call to its return (sealed, gathered, written, summed up, in the ledger, at its destination),
// against DuckDB's COPY of the same rows out of one table in order of time: the same columns, sorted and compressed alike.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { sqlText } from '../ingest/duckdb-instance.ts';
import { exportOrder, writtenColumns } from '../ingest/parquet-columns.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { ExportScheduler } from '../queries/export/scheduler.ts';
import { columnsOf } from '../queries/export/write-parquet.ts';
import { alternate, figure } from './figure.ts';
import type { Figure } from './figure.ts';
import { SPANS_A_FILE, addSpans } from './stored-spans.ts';

const NODE_OPTIONS = { threads: '2', memory_limit: '1GB' } as const;

/** So many files of half a million spans. */
export async function measureExport(rounds: number, files: number): Promise<Figure[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const destination = join(folder, 'parquet');
  const warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0, threads: 2, more_folders: [destination] });
  const exporter = new ExportScheduler(warehouse);
  const instance = await DuckDBInstance.create(join(folder, 'by-hand.duckdb'), NODE_OPTIONS);
  const hand = await instance.connect();
  try {
    for (let file = 0; file < files; file++) await addSpans(warehouse, file);
    const inside = await warehouse.connect();
    const columns = await columnsOf(inside, 'derived', 'spans');
    const copy = join(folder, 'data', 'tmp', 'spans.parquet');
    const names = columns.map(({ name }) => `"${name}"`).join(', ');
    await inside.run(`COPY (SELECT ${names} FROM stored.spans) TO ${sqlText(copy)} (FORMAT parquet)`);
    inside.closeSync();
    await hand.run(`CREATE TABLE spans AS SELECT ${columns.map(({ name, type }) => `CAST("${name}" AS ${type}) AS "${name}"`).join(', ')} FROM ${sqlText(copy)} ORDER BY start_ns`);
    await hand.run('CHECKPOINT');
    const rows = files * SPANS_A_FILE;
    let bytes = 0n;
    const taken = await alternate(rounds, {
      export: async (round) => {
        const { export_id } = await exporter.add({ destination: join(destination, String(round)), relations: ['spans'] });
        const started = performance.now();
        const report = await exporter.run(export_id);
        const seconds = (performance.now() - started) / 1000;
        if (report.rows !== BigInt(rows)) throw new Error(`${report.rows} rows were exported, not ${rows}`);
        bytes = report.bytes;
        await exporter.remove(export_id);
        rmSync(join(destination, String(round)), { recursive: true, force: true });
        return rows / seconds;
      },
      copy: async () => {
        const started = performance.now();
        await hand.run(`COPY (SELECT ${writtenColumns('spans', columns)} FROM spans ORDER BY ${exportOrder('spans', columns)}) TO ${sqlText(join(folder, 'copy.parquet'))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536, DICTIONARY_SIZE_LIMIT 1024)`);
        return rows / ((performance.now() - started) / 1000);
      },
    });
    return [
      figure({
        figure: 'export_rate', variant: `spans to Parquet, ${rows / 1e6} M`, unit: 'rows/s', values: taken.export, reference: { what: "DuckDB's COPY of the same columns, sorted and compressed alike", values: taken.copy },
        goal: { of: 'ratio', at_least: 0.8 }, notes: { bytes_a_span: Number(bytes) / rows },
      }),
    ];
  } finally {
    await exporter.close();
    await warehouse.close();
    hand.closeSync();
    instance.closeSync();
    rmSync(folder, { recursive: true, force: true });
  }
}
