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

function folderBytes(folder: string): number {
  return readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile()).reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}

async function post(url: string, body: Uint8Array): Promise<void> {
  const response = await fetch(`${url}/api/v1/ingest`, { method: 'POST', headers: { 'content-type': 'application/vnd.apache.arrow.stream' }, body });
  if (!response.ok) throw new Error(`the warehouse answered ${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
}

async function counts(url: string): Promise<{ events: number; spans: number }> {
  const sql = 'SELECT (SELECT count(*) FROM socket_events) + (SELECT count(*) FROM thread_events) AS events, (SELECT count(*) FROM spans) AS spans';
  const response = await fetch(`${url}/api/v1/sql?q=${encodeURIComponent(sql)}`);
  const { rows } = (await response.json()) as { rows: [[string, string]] };
  return { events: Number(rows[0][0]), spans: Number(rows[0][1]) };
}

/** Of one `tracehouse serve` that gets these bodies one after the other, as fast as it takes them. */
export async function measureWarehouse(variant: string, bodies: readonly Uint8Array[]): Promise<Figure[]> {
  const data = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const child = spawn(process.execPath, [join(packageRoot(), 'bin', 'tracehouse.js'), 'serve', '--data', data, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`tracehouse serve ended with ${code}`)));
      createInterface({ input: child.stdout }).on('line', (line) => line.startsWith('ready ') && resolve(line.slice('ready '.length).replace(/\/$/, '')));
    });
    const pid = child.pid as number;
    const before = cpuSeconds(pid);
    for (const body of bodies) await post(url, body);
    let [found, last, most] = [await counts(url), -1, residentBytes(pid)];
    while (found.spans !== last) {
      last = found.spans;
      await new Promise((resolve) => setTimeout(resolve, 2000));
      found = await counts(url);
      most = Math.max(most, residentBytes(pid));
    }
    const us_an_event = ((cpuSeconds(pid) - before) / found.events) * 1e6;
    child.kill('SIGTERM');
    await exited(child);
    const notes = { events: found.events, spans: found.spans, spans_an_event: rounded(found.spans / found.events) };
    return [
      figure({ figure: 'warehouse_cpu', variant, unit: 'us/event', values: [us_an_event], notes: { ...notes, resident_mib: Math.round(most / MIB) } }),
      figure({ figure: 'warehouse_disk', variant: `${variant}, not compacted yet`, unit: 'bytes/event', values: [folderBytes(data) / found.events], notes }),
    ];
  } finally {
    child.kill('SIGKILL');
    rmSync(data, { recursive: true, force: true });
  }
}
