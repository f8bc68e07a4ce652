// nginx at saturation under wrk, traced by process: untraced, loader and `record`, `up` on the same cores, and a bpftrace script
// on the same tracepoints. In turn, several rounds; what each tracer lost stands beside its figure.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Batch } from '../ingest/batch.ts';
import { readRecording } from '../ingest/recording.ts';
import { packageRoot } from '../schema/package-root.ts';
import { setStage, type Stage } from '../test/accuracy/stage.ts';
import { Tracer } from '../test/accuracy/tracer.ts';
import { alternate, figure, spread } from './figure.ts';
import type { Figure } from './figure.ts';
import { plainNginx, wrk } from './wrk.ts';

const PORT = 8000;
const URL = `http://127.0.0.1:${PORT}/`;
const BPFTRACE = '/usr/bin/bpftrace';
const SETTLE_MS = 20_000;
export const CAUSES = new Set(['ring_full', 'connection_shed', 'hook_missed']);

interface Round {
  readonly requests_per_second: number;
  /** Of two events a request at the server's end. */
  readonly lost_share: number;
  /** (Seen + lost) / expected: a read and a write a request. */
  readonly accounted?: number;
  /** What waited on disk at most, and how long making a recording of it took once the load was over. */
  readonly waited_mib?: number;
  readonly written_after_s?: number;
}

export const exited = (child: ChildProcess): Promise<void> => new Promise((resolve) => (child.exitCode !== null ? resolve() : child.once('exit', () => resolve())));

/** Resolves when a line of the stream matches. */
export function said(child: ChildProcess, stream: 'stdout' | 'stderr', pattern: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    createInterface({ input: child[stream] as NodeJS.ReadableStream }).on('line', (line) => pattern.test(line) && resolve());
    child.once('exit', (code) => reject(new Error(`${child.spawnargs.slice(0, 3).join(' ')} ended with ${code} before it was ready`)));
  });
}

export function lostIn({ tables: { losses } }: Batch): number {
  const { cause, events_lost } = losses.columns;
  if (cause?.type !== 'dict' || events_lost?.type !== 'int64') return 0;
  let lost = 0;
  for (let row = 0; row < losses.rows; row++) if (CAUSES.has(cause.dictionary[cause.indices[row] as number] as string)) lost += Number(events_lost.values[row]);
  return lost;
}

async function recorded(stage: Stage, pid: number, seconds: number): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const out = join(folder, 'raw.arrow');
  const child = spawn(join(packageRoot(), 'bin', 'tracehouse'), ['record', '--out', out, '--scope', `pid:${pid}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  let waited: RegExpExecArray | null = null;
  createInterface({ input: child.stderr }).on('line', (line) => (waited = /up to (\d+) MiB waited on disk/.exec(line) ?? waited));
  try {
    await said(child, 'stderr', /^recording to/);
    const { per_second, requests } = await wrk(stage, URL, seconds);
    const ended = performance.now();
    child.kill('SIGINT');
    await exited(child);
    const written_after_s = (performance.now() - ended) / 1000;
    let [seen, lost] = [0, 0];
    for await (const batch of readRecording(out)) {
      seen += batch.tables.socket_events.rows;
      lost += lostIn(batch);
    }
    return { requests_per_second: per_second, lost_share: lost / (seen + lost), accounted: (seen + lost) / (2 * requests), waited_mib: Number(waited?.[1] ?? 0), written_after_s };
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function traced(stage: Stage, pid: number, seconds: number): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const tracer = await Tracer.start({ data: folder, scopes: [`pid:${pid}`] });
  try {
    const { per_second, requests } = await wrk(stage, URL, seconds);
    const count = async (): Promise<{ seen: number; lost: number }> => {
      const [row] = await tracer.sql(`SELECT (SELECT count(*) FROM socket_events WHERE op IN ('read', 'write') AND bytes > 0) AS seen, (SELECT coalesce(sum(events_lost), 0)::BIGINT FROM losses WHERE cause IN (${[...CAUSES].map((cause) => `'${cause}'`).join(', ')})) AS lost`);
      return { seen: Number(row?.['seen']), lost: Number(row?.['lost']) };
    };
    // What waited on disk comes in afterwards; SQL sees raw events once they are sealed.
    let found = await count();
    for (let changed = Date.now(); found.seen + found.lost < 2 * requests && Date.now() - changed < SETTLE_MS; ) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const now = await count();
      if (now.seen !== found.seen) changed = Date.now();
      found = now;
    }
    return { requests_per_second: per_second, lost_share: found.lost / (found.seen + found.lost), accounted: (found.seen + found.lost) / (2 * requests) };
  } finally {
    await tracer.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function withBpftrace(stage: Stage, pid: number, seconds: number): Promise<Round> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const out = join(folder, 'out');
  // It finds tracepoints by tracefs alone, which a bare machine has not mounted: there, for it alone.
  const mounted = 'test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"';
  const child = spawn('unshare', ['--mount', 'sh', '-c', mounted, 'sh', BPFTRACE, join(packageRoot(), 'bench', 'socket-io.bt'), String(pid)], { stdio: ['ignore', openSync(out, 'w'), 'pipe'], env: { ...process.env, BPFTRACE_PERF_RB_PAGES: '4096' } });
  let lost = 0;
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => (lost += Number(/^Lost (\d+) events/.exec(line)?.[1] ?? 0)));
  try {
    while (!readFileSync(out, 'utf8').includes('Attaching')) {
      if (child.exitCode !== null) throw new Error('bpftrace does not run here');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { per_second, requests } = await wrk(stage, URL, seconds);
    child.kill('SIGINT');
    await exited(child);
    return { requests_per_second: per_second, lost_share: lost / (2 * requests) };
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Throughput of the traced server over that of the untraced one, of the same round. */
export async function measureThroughput(rounds: number, seconds: number): Promise<Figure[]> {
  const stage = await setStage((folder) => [plainNginx(folder, PORT)]);
  try {
    await wrk(stage, URL, 2); // warm
    const [master = 0] = stage.services.pids;
    const [worker = 0] = readFileSync(`/proc/${master}/task/${master}/children`, 'utf8').trim().split(' ').map(Number);
    const untraced = async (): Promise<Round> => ({ requests_per_second: (await wrk(stage, URL, seconds)).per_second, lost_share: 0 });
    const found = await alternate(rounds, {
      untraced,
      record: () => recorded(stage, master, seconds),
      up: () => traced(stage, master, seconds),
      bpftrace: () => withBpftrace(stage, worker, seconds),
    });
    const speeds = (rows: readonly Round[]): number[] => rows.map((row) => row.requests_per_second);
    const reference = { what: 'untraced', values: speeds(found.untraced) };
    const lost = (rows: readonly Round[]): number => rows.reduce((sum, row) => sum + row.lost_share, 0) / rows.length;
    const one = (variant: string, rows: readonly Round[], more: object = {}): Figure => figure({ figure: 'throughput_nginx', variant, unit: 'requests/s', values: speeds(rows), reference, lost_share: lost(rows), ...more });
    const median = (rows: readonly Round[], of: 'accounted' | 'waited_mib' | 'written_after_s'): number => spread(rows.map((row) => row[of] ?? 0)).median;
    const figures = [
      one('loader and record', found.record, {
        goal: { of: 'ratio', at_least: 0.9 },
        notes: { seconds, accounted: median(found.record, 'accounted'), waited_mib: median(found.record, 'waited_mib'), written_after_s: median(found.record, 'written_after_s') },
      }),
      one('up on the same cores', found.up, { notes: { seconds, accounted: median(found.up, 'accounted') } }),
    ];
    const ahead = figure({ figure: 'throughput_nginx', variant: 'record against bpftrace', unit: 'requests/s', values: speeds(found.record), reference: { what: 'bpftrace script on the same tracepoints', values: speeds(found.bpftrace) }, goal: { of: 'ratio', at_least: 1 } });
    return [...figures, one('bpftrace', found.bpftrace), ahead];
  } finally {
    await stage.stop();
  }
}
