import { expect, test } from 'vitest';
import { loadSteps, runSteps } from '../queries/step-runner.ts';
import { stepConnection } from './support/step-connection.ts';

const STEPS = new Set(['turn_calls', 'placed_reads', 'placed_calls']);

/** One turn reads eight requests, the next one calls for seven over kept connections and connects for the eighth, whose request its thread knows. */
test('a call whose request is known takes its place among the calls of its turn', async () => {
  const connection = await stepConnection();
  const call = (columns: string): string => `SELECT 100 + range AS span_id, 1 AS process_id, 7 AS thread_id, 1000 + range AS at_ns, range = 7 AS fresh, 185 AS turn, 100 + range AS socket_id, 0 AS exchange_no, 'b' AS service, '127.0.0.1' AS callee_ip, 8004 AS callee_port${columns} FROM range(8)`;
  await connection.run(`
    CREATE TEMP TABLE work AS SELECT 1 AS span_id;
    CREATE TEMP TABLE loop_reads AS SELECT range AS span_id, 7 AS thread_id, 184 AS turn, range AS at_ns, '' AS source_ip, 0 AS source_port FROM range(8);
    CREATE TEMP TABLE loop_calls AS SELECT * EXCLUDE (process_id) FROM (${call('')}) WHERE NOT fresh;
    CREATE TEMP TABLE habit_calls AS ${call(', NULL AS task_id')} UNION ALL SELECT 200, 1, 8, 1000, FALSE, 185, 200, 0, 'b', '127.0.0.1', 8004, NULL UNION ALL SELECT 201, 1, 7, 1000, FALSE, 185, 201, 0, 'b', '127.0.0.1', 8004, 5;
    CREATE TEMP TABLE lag_rules AS SELECT 'b' AS service, '127.0.0.1' AS callee_ip, 8004 AS callee_port, range = 1 AS fresh, '' AS source_ip, 0 AS source_port, 1 AS lag, 1.0 AS coverage FROM range(2)`);
  await runSteps(connection, loadSteps('portable').filter(({ name }) => STEPS.has(name)));
  const found = await connection.runAndReadAll('SELECT c.span_id::INTEGER, r.span_id::INTEGER, c.places::INTEGER, r.places::INTEGER FROM placed_calls c JOIN placed_reads r ON r.turn = c.read_turn AND r.place = c.place ORDER BY 1');
  expect(found.getRows()).toEqual(Array.from({ length: 8 }, (_, at) => [100 + at, at, 8, 8]));
});
