// npm run accuracy:timing -- FILE.parquet [TRUTH.parquet]
// Resolves the exchanges of FILE from timing alone; only then, in a database of its own, joins the truth and judges.
// FILE: span_id, service, process, kind ('server', 'client'), operation, peer, conn (joins the two ends of a call), start_us, end_us.
// TRUTH: child, parent, kind; by default FILE with .truth before .parquet.
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { createTimingTables, resolveTiming, type TimingLink } from '../../queries/timing/resolve.ts';
import { judgeTiming, printJudgement } from './timing-judge.ts';

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

async function load(connection: DuckDBConnection, file: string): Promise<void> {
  await createTimingTables(connection);
  await connection.run(`INSERT INTO timing_calls SELECT span_id, service, CAST(process AS VARCHAR), peer, operation, start_us, end_us FROM read_parquet(${text(file)}) WHERE kind = 'client';
    INSERT INTO timing_requests SELECT s.span_id, s.service, CAST(s.process AS VARCHAR), s.operation, s.start_us, s.end_us, c.span_id FROM read_parquet(${text(file)}) s LEFT JOIN read_parquet(${text(file)}) c ON c.conn = s.conn AND c.kind = 'client' WHERE s.kind = 'server'`);
}

export async function resolveFile(file: string): Promise<{ links: TimingLink[]; seconds: number }> {
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  try {
    const begun = performance.now();
    await load(connection, file);
    const { links } = await resolveTiming(connection);
    return { links, seconds: (performance.now() - begun) / 1000 };
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

const [file, truth] = process.argv.slice(2);
if (file === undefined) {
  console.error('usage: npm run accuracy:timing -- FILE.parquet [TRUTH.parquet]');
  process.exit(2);
}
const { links, seconds } = await resolveFile(file);
printJudgement(await judgeTiming(links, truth ?? file.replace(/\.parquet$/, '.truth.parquet')), seconds);
