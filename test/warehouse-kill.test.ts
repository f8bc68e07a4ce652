import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { rowsOf } from './support/apply-program.ts';
import { compileProgram } from './support/compile-program.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

let program: ReturnType<typeof compileProgram>;
beforeAll(() => (program = compileProgram('test/support/apply-program.ts')) && undefined);
afterAll(() => program.remove());

/** Lets the program run until `life` settles, kills it, and says what it had said it applied. */
async function applyUntilKilled(folder: string, first: number, life: () => Promise<unknown>): Promise<{ acknowledged: number[]; complaints: string }> {
  const child = spawn(process.execPath, [program.path, folder, String(first)], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (complaints += text));
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
      if (out.startsWith('ready\n')) resolve();
    });
    child.on('exit', (code) => reject(new Error(`ended by itself with ${code}: ${complaints}`)));
  });
  child.removeAllListeners('exit');
  const closed = new Promise((resolve) => child.on('close', resolve));
  await life();
  child.kill('SIGKILL');
  await closed;
  return { acknowledged: out.split('\n').slice(1, -1).map(Number), complaints };
}

/** Names of segment files begin with their level. */
async function untilCompacted(folder: string): Promise<void> {
  for (let left = 600; left > 0 && !readdirSync(`${folder}/raw`).some((name) => /^[1-9]-/.test(name)); left--) await delay(50);
}

test('killed at any moment: every acknowledged batch is there once, whole, and nothing is left behind', async () => {
  const folder = temporaryFolder();
  const acknowledged = new Set<number>();
  let first = 1;
  // The last time it lives until it has put segments together: on a slow machine that takes longer than the others are given.
  for (let round = 0; round <= 10; round++) {
    const run = await applyUntilKilled(folder, first, round < 10 ? () => delay(30 + Math.random() * 500) : () => untilCompacted(folder));
    expect(run.complaints).toBe('');
    for (const sequence of run.acknowledged) acknowledged.add(sequence);
    // Again from the last one acknowledged: that one, and perhaps the next, are known already.
    first = Math.max(1, ...acknowledged);
  }
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  const found = await warehouse.query(`
    SELECT b.sequence, b.rows, count(e.socket_id), count(DISTINCT e.stream_offset)
    FROM stored.batches b LEFT JOIN stored.socket_events e ON e.socket_id = b.sequence AND e.comm = 'batch number ' || b.sequence
    GROUP BY ALL ORDER BY 1`);
  const sequences = found.rows.map(([sequence]) => Number(sequence));
  expect(sequences).toEqual(Array.from({ length: sequences.length }, (_, i) => i + 1)); // no batch twice, none missing
  expect(sequences.length).toBeGreaterThanOrEqual(acknowledged.size);
  for (const [sequence, rows, events, distinct] of found.rows) {
    const expected = BigInt(rowsOf(Number(sequence)));
    expect([rows, events, distinct]).toEqual([expected, expected, expected]);
  }
  expect((await warehouse.query('SELECT count(DISTINCT apply_no) = count(*) FROM stored.batches')).rows).toEqual([[true]]);
  expect(warehouse.segments.some((segment) => segment.level > 0)).toBe(true); // some were put together
  await warehouse.close();
  expect(readdirSync(`${folder}/raw`).filter((name) => !/^\d-\d+-\d+-[0-9a-f]+\.duckdb$/.test(name))).toEqual([]);
  expect(acknowledged.size).toBeGreaterThan(20);
}, 120_000);
