// What a warehouse spends on what collectors send it: CPU and disk an event, from the first batch to correlated spans.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../schema/package-root.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';
import { cpuSeconds, residentBytes } from './process-memory.ts';
import { exited } from './throughput.ts';

const MIB = 2 ** 20;
/** In 2 s: less is its cycles over nothing, and our own questions. */
const IDLE_CPU_S = 0.3;

function folderBytes(folder: string): number {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

async function post(url: string, body: Uint8Array): Promise<void> {
  const response = await fetch(`${url}/api/v1/ingest`, { method: 'POST', headers: { 'content-type': 'application/vnd.apache.arrow.stream' }, body });
  if (!response.ok) throw new Error(`the warehouse answered ${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
}

interface Counts {
  readonly events: number;
  readonly socket_events: number;
  readonly spans: number;
}

async function counts(url: string): Promise<Counts> {
  const sql = 'SELECT (SELECT count(*) FROM socket_events) AS socket_events, (SELECT count(*) FROM thread_events) AS thread_events, (SELECT count(*) FROM spans) AS spans';
  const response = await fetch(`${url}/api/v1/sql?q=${encodeURIComponent(sql)}`);
  const { rows } = (await response.json()) as { rows: [[string, string, string]] };
  const [socket_events, thread_events, spans] = rows[0].map(Number) as [number, number, number];
  return { events: socket_events + thread_events, socket_events, spans };
}

/** Of one `tracehouse serve` that gets these bodies one after the other, as fast as it takes them; the first third warms it. */
export async function measureWarehouse(variant: string, bodies: readonly Uint8Array[]): Promise<Figure[]> {
  const data = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const child = spawn(join(packageRoot(), 'bin', 'tracehouse'), ['serve', '--data', data, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`tracehouse serve ended with ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => line.startsWith('ready ') && resolve(line.slice('ready '.length).replace(/\/$/, '')));
    });
    const pid = child.pid as number;
    let most = 0;
    const stored = async (part: readonly Uint8Array[]): Promise<Counts> => {
      for (const body of part) await post(url, body);
      // Until it has nothing left to do.
      for (;;) {
        const [cpu, { spans }] = [cpuSeconds(pid), await counts(url)];
        await new Promise((resolve) => setTimeout(resolve, 2000));
        most = Math.max(most, residentBytes(pid));
        const found = await counts(url);
        if (found.spans === spans && cpuSeconds(pid) - cpu < IDLE_CPU_S) return found;
      }
    };
    const warm = Math.ceil(bodies.length / 3);
    const first = await stored(bodies.slice(0, warm));
    const before = cpuSeconds(pid);
    const found = await stored(bodies.slice(warm));
    const us_an_event = ((cpuSeconds(pid) - before) / (found.events - first.events)) * 1e6;
    child.kill('SIGTERM');
    await exited(child);
    const notes = { events: found.events, spans: found.spans, spans_an_event: rounded(found.spans / found.events), spans_a_socket_event: rounded(found.spans / found.socket_events) };
    return [
      figure({ figure: 'warehouse_cpu', variant, unit: 'us/event', values: [us_an_event], notes: { ...notes, resident_mib: Math.round(most / MIB) } }),
      figure({ figure: 'warehouse_disk', variant: `${variant}, not compacted yet`, unit: 'bytes/event', values: [folderBytes(data) / found.events], notes }),
    ];
  } finally {
    child.kill('SIGKILL');
    rmSync(data, { recursive: true, force: true });
  }
}
