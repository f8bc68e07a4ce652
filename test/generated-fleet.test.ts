import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { generate, type Generated, type GenerateOptions } from '../bench/generate/generate.ts';
import { foundSpans, score } from '../bench/generate/score.ts';
import { TruthFile, readTruth } from '../bench/generate/truth-file.ts';
import { TruthList, trueTraces } from '../bench/generate/truth.ts';
import { encodeBatches } from '../ingest/arrow-format.ts';
import type { Batch, ColumnData } from '../ingest/batch.ts';
import { openRecordingWriter, readRecording } from '../ingest/recording.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

function run(options: GenerateOptions): { batches: Batch[]; made: Generated } {
  const batches: Batch[] = [];
  const each = generate(options);
  let next = each.next();
  for (; next.done !== true; next = each.next()) batches.push(next.value);
  return { batches, made: next.value };
}

const hash = (batches: readonly Batch[]): string => createHash('sha256').update(encodeBatches(batches)).digest('hex');
const numbers = (batch: Batch, table: 'socket_events' | 'messages' | 'losses', name: string): bigint[] => {
  const { rows, columns } = batch.tables[table];
  return [...(columns[name] as ColumnData & { type: 'int64' }).values.subarray(0, rows)];
};

describe('the generated fleet', () => {
  test('is the same for the same seed, and another for another', () => {
    const options = { events: 20_000, seed: 3, shapes: ['node', 'prefork', 'go'], applications: 3 };
    const first = hash(run(options).batches);
    expect(hash(run(options).batches)).toBe(first);
    expect(hash(run({ ...options, seed: 4 }).batches)).not.toBe(first);
  });

  test('has as many events as were asked for, batches in sequence, and watermarks that hold', () => {
    const { batches, made } = run({ events: 30_000, seed: 5 });
    expect(batches.reduce((sum, batch) => sum + batch.tables.socket_events.rows, 0)).toBe(made.events);
    expect(made.events).toBeGreaterThanOrEqual(30_000);
    expect(made.ambiguous_calls / made.calls).toBeGreaterThan(0.1);
    const last = new Map<string, Batch>();
    for (const batch of batches) {
      const before = last.get(batch.node);
      expect(batch.sequence).toBe((before?.sequence ?? 0n) + 1n);
      const oldest = numbers(batch, 'socket_events', 'ts_ns').reduce((least, at) => (at < least ? at : least), 2n ** 62n);
      expect(before === undefined || oldest >= before.watermark_ns).toBe(true);
      last.set(batch.node, batch);
    }
    expect([...last.values()].every((batch) => batch.final)).toBe(true);
    expect(new Set([...last.values()].map((batch) => batch.utc_ns - batch.mono_ns)).size).toBe(last.size);
  });

  test('what is lost is missing, and counted', () => {
    const options = { events: 60_000, seed: 6, shapes: ['kept-connections'], applications: 2, nodes: 3 };
    const { batches, made } = run({ ...options, loss_share: 0.01 });
    const told = batches.flatMap((batch) => numbers(batch, 'losses', 'events_lost').filter((_, row) => {
      const cause = batch.tables.losses.columns['cause'] as ColumnData & { type: 'dict' };
      return cause.dictionary[cause.indices[row] as number] === 'ring_full';
    }));
    expect(made.events_lost).toBeGreaterThan(0);
    expect(Number(told.reduce((sum, lost) => sum + lost, 0n))).toBe(made.events_lost);
  });

  test('no id of a path comes twice, and no header gives a request away', () => {
    const truth = new TruthList();
    const { batches } = run({ events: 20_000, seed: 8, truth });
    const of_key = new Map<string, Set<number>>();
    for (const { key, request } of truth.rows) {
      const id = /[0-9a-f]{16}/.exec(key)?.[0] ?? '';
      of_key.set(id, (of_key.get(id) ?? new Set()).add(request));
      expect(truth.rows.length).toBeGreaterThan(0);
    }
    // One hop of one request: its client's span, if anybody watches that, and its server's.
    expect(truth.rows.length / of_key.size).toBeLessThanOrEqual(2);
    expect([...of_key.values()].every((requests) => requests.size === 1)).toBe(true);
    for (const batch of batches) {
      const { rows, columns } = batch.tables.messages;
      for (const name of ['traceparent', 'request_id']) expect(rows === 0 || columns[name]?.validity?.every((bits, at) => at === rows >> 3 || bits === 0)).toBe(true);
    }
  });
});

const EXACT = ['kept-connections', 'shared-pool', 'prefork', 'worker-pool', 'waiting-reader', 'thread-per-call', 'node', 'nginx', 'go', 'go-parallel'];

test('replayed from its file and judged: exact where the kernel tells, nothing claimed where it does not', async () => {
  const folder = temporaryFolder();
  const [file, truth_file] = [join(folder, 'fleet.arrow'), join(folder, 'truth.arrow')];
  const truth = new TruthFile(truth_file);
  const writer = await openRecordingWriter(file);
  for (const batch of generate({ events: 60_000, seed: 9, shapes: [...EXACT, 'timers'], applications: EXACT.length + 1, nodes: 4, loss_share: 0, truth })) await writer.write(batch);
  await writer.close();
  truth.close();

  const warehouse = await Warehouse.open({ folder: join(folder, 'data'), seal_every_ms: 0 });
  onTestFinished(() => warehouse.close());
  for await (const batch of readRecording(file)) await warehouse.apply(batch);
  await new Correlator(warehouse, { late_pause_ms: 0 }).finish();
  const verdicts = score(await trueTraces(readTruth(truth_file)), await foundSpans(warehouse));
  const exact = [...verdicts].filter(([shape]) => shape !== 'timers');
  expect(exact.map(([shape, { requests, exact: right, faults }]) => [shape, requests > 50, right / requests >= 0.995, faults.slice(0, 3 * Number(right / requests < 0.995))]).toSorted()).toEqual(EXACT.map((shape) => [shape, true, true, []]).toSorted());
  const timers = verdicts.get('timers');
  expect(timers?.links.wrong).toBe(0);
  expect(timers?.links.null).toBeGreaterThan((timers?.requests ?? 0) * 2);
}, 120_000);
