import { expect, test } from 'vitest';
import { loadSteps, runSteps } from '../queries/step-runner.ts';
import { seededRandom } from '../queries/timing/resolve-service.ts';
import { stepConnection } from './support/step-connection.ts';

const START_NS = 1_795_392_000_000_000_000n;
const STEPS = new Set(['open_work', 'open_places', 'open_widths', 'call_places', 'open_pairs']);

/** The definition, every request of a process with every call. */
const ALL_PAIRS = `
  SELECT c.span_id, k.span_id AS candidate_span_id
  FROM unsure_calls c
  JOIN work k ON k.process_id = c.process_id AND k.request_end_ns <= c.at_ns AND (k.free_ns IS NULL OR k.free_ns > c.at_ns) AND (k.answer_ns IS NULL OR NOT c.answered OR k.answer_ns >= c.end_ns)`;

test('requests open at a call, looked for in pieces of time: the same as among all of the process', async () => {
  const connection = await stepConnection();
  const random = seededRandom(5);
  // From 1 us to 17 minutes, and as long as a piece is wide or one less.
  const lasting = (): bigint => (random() < 0.1 ? 2n ** BigInt(20 + 3 * Math.floor(random() * 6)) - BigInt(random() < 0.5 ? 1 : 0) : BigInt(Math.floor(10 ** (3 + random() * 9))));
  const at = (): bigint => START_NS + BigInt(Math.floor(random() * 1e11));
  const requests = Array.from({ length: 3000 }, (_, id) => {
    const ts_ns = at();
    const free_ns = random() < 0.05 ? null : ts_ns + lasting();
    const answer_ns = random() < 0.2 ? null : (free_ns ?? ts_ns + lasting()) - (random() < 0.5 ? 0n : 900n) + (random() < 0.05 ? 1_000_000n : 0n);
    return `(${id}, ${1 + (id % 3)}, ${ts_ns}, ${ts_ns + BigInt(Math.floor(random() * 1000))}, ${free_ns}, ${answer_ns})`;
  });
  const calls = Array.from({ length: 2000 }, (_, id) => {
    const at_ns = at();
    return `(${10_000 + id}, ${1 + (id % 4)}, ${at_ns}, ${random() < 0.1 ? null : at_ns + lasting()}, ${random() < 0.7})`;
  });
  await connection.run(`
    CREATE TEMP TABLE work AS SELECT *, CAST(NULL AS BIGINT) AS reader_thread_id, CAST(NULL AS BIGINT) AS answer_thread_id, CAST(NULL AS VARCHAR) AS traceparent, CAST(NULL AS VARCHAR) AS request_id,
      CAST(NULL AS BIGINT) AS task_id, CAST(NULL AS BIGINT) AS reader_task_id
      FROM (VALUES ${requests.join(', ')}) r(span_id, process_id, ts_ns, request_end_ns, free_ns, answer_ns);
    CREATE TEMP TABLE unsure_calls AS FROM (VALUES ${calls.join(', ')}) c(span_id, process_id, at_ns, end_ns, answered);
    CREATE TEMP TABLE held_calls (span_id BIGINT);
    CREATE TEMP TABLE unsure_processes AS SELECT process_id, min(at_ns) AS first_ns FROM unsure_calls GROUP BY process_id`);
  await runSteps(connection, loadSteps('portable').filter(({ name }) => STEPS.has(name)));
  const all = (await connection.runAndReadAll(`${ALL_PAIRS} ORDER BY ALL`)).getRows();
  const found = (await connection.runAndReadAll('SELECT span_id, candidate_span_id FROM open_pairs ORDER BY ALL')).getRows();
  expect(all.length).toBeGreaterThan(10_000);
  expect(found).toEqual(all);
});
