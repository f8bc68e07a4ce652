// Do ingest and lookups keep their speed while users run the worst statements they can? And how soon is a small one answered?
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeBatches } from '../ingest/arrow-format.ts';
import { packageRoot } from '../schema/package-root.ts';
import { makeBatch } from '../test/support/make-batch.ts';
import { NOW_NS, shopBatch } from '../test/support/shop-warehouse.ts';
import { figure, quantile, rounded } from './figure.ts';
import type { Figure } from './figure.ts';

/** Each wants all of one thing: cores, disk, memory, a thread that cannot be interrupted. */
const WORST = [
  'SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range + b.range = -1',
  'SELECT md5(range::VARCHAR) AS h FROM range(20000000) ORDER BY h',
  "SELECT string_agg(repeat('x', 1000000), '') FROM range(20000)",
  'SELECT list_sort(list_transform(range(3000000), x -> md5(x::VARCHAR)))[1]',
] as const;
const BATCH_ROWS = 2500;
const EVERY_MS = 250;

interface Latency {
  readonly p50_ms: number;
  readonly p95_ms: number;
}
type Kind = 'ingest' | 'lookup' | 'search';

const latency = (values: readonly number[]): Latency => ({ p50_ms: rounded(quantile(values, 0.5)), p95_ms: rounded(quantile(values, 0.95)) });

async function startServer(data: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const server = spawn(join(packageRoot(), 'bin', 'tracehouse'), ['serve', '--data', data, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    server.stdout.on('data', (text: Buffer) => {
      const match = /^ready (\S+)/m.exec(text.toString());
      if (match !== null) resolve(match[1] as string);
    });
    server.once('exit', () => reject(new Error('the server did not start')));
  });
  return { url, stop: async () => (server.kill('SIGTERM'), exit) };
}

function eventsBatch(sequence: bigint): Uint8Array {
  const rows = Array.from({ length: BATCH_ROWS }, (_, n) => ({
    ts_ns: NOW_NS + sequence * 250_000_000n + BigInt(n), mono_ns: n, socket_id: n % 50, op: n % 2 === 0 ? 'read' : 'write', bytes: n, stream_offset: n, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false,
  }));
  return encodeBatches([makeBatch({ sequence }, { socket_events: rows })]);
}

export async function measureSqlIsolation(seconds: number): Promise<Figure[]> {
  const data = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const server = await startServer(data);
  let sequence = 10n;
  let failed = 0;
  const timed = async (url: string, init?: RequestInit): Promise<number> => {
    const started = performance.now();
    const answer = await fetch(server.url + url, init);
    await answer.arrayBuffer();
    if (!answer.ok) failed += 1;
    return performance.now() - started;
  };
  const ingest = (body: Uint8Array): Promise<number> => timed('/api/v1/ingest', { method: 'POST', headers: { 'content-type': 'application/vnd.apache.arrow.stream' }, body: Buffer.from(body) });
  const sql = (statement: string, timeout_ms: number): Promise<Response> => fetch(`${server.url}/api/v1/sql`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ sql: statement, timeout_ms }) });

  async function measure(): Promise<Record<Kind, Latency>> {
    const found: Record<Kind, number[]> = { ingest: [], lookup: [], search: [] };
    const until = performance.now() + seconds * 1000;
    while (performance.now() < until) {
      const next = performance.now() + EVERY_MS;
      const body = eventsBatch((sequence += 1n));
      found.ingest.push(await ingest(body));
      found.lookup.push(await timed(`/api/v1/traces/${trace_id}`));
      found.search.push(await timed(`/api/v1/traces?service=shop-worker&start=${NOW_NS - 100_000_000_000n}&end=${NOW_NS}&limit=20`));
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())));
    }
    return { ingest: latency(found.ingest), lookup: latency(found.lookup), search: latency(found.search) };
  }

  let trace_id = '';
  try {
    await ingest(encodeBatches([shopBatch()]));
    while (trace_id === '') {
      const { rows } = (await (await sql('SELECT trace_id FROM traces LIMIT 1', 5000)).json()) as { rows: string[][] };
      trace_id = rows[0]?.[0] ?? '';
      if (trace_id === '') await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await measure(); // warm
    const quiet = await measure();
    let attacking = true;
    let worst_statements = 0;
    const attackers = WORST.map(async (statement) => {
      while (attacking) {
        await (await sql(statement, 5000)).arrayBuffer().catch(() => undefined);
        worst_statements += 1;
      }
    });
    const attacked = await measure();
    attacking = false;
    await Promise.all(attackers);
    const small: number[] = [];
    for (let n = 0; n < 50; n++) {
      const started = performance.now();
      await (await sql('SELECT count(*) FROM spans', 5000)).arrayBuffer();
      small.push(performance.now() - started);
    }
    const kinds: readonly Kind[] = ['ingest', 'lookup', 'search'];
    return [
      ...kinds.map((kind) =>
        figure({
          figure: 'sql_isolation', variant: kind, unit: 'ms', values: [attacked[kind].p50_ms], reference: { what: 'nobody runs SQL', values: [quiet[kind].p50_ms] }, goal: { of: 'ratio', at_most: 2 },
          notes: { p95_ms: attacked[kind].p95_ms, quiet_p95_ms: quiet[kind].p95_ms, worst_statements, ingest_failed: failed },
        }),
      ),
      figure({ figure: 'small_statement', variant: 'count over spans, through HTTP', unit: 'ms', values: [latency(small).p50_ms], goal: { of: 'value', at_most: 30 }, notes: { p95_ms: latency(small).p95_ms } }),
    ];
  } finally {
    await server.stop();
    rmSync(data, { recursive: true, force: true });
  }
}
