import { expect, test } from 'vitest';
import { loadSteps, runSteps } from '../queries/step-runner.ts';
import { stepConnection } from './support/step-connection.ts';

const IN_FLIGHT = 8;
const CALLS_IN_A_ROW = 12;
const id = (step: number, place: number): number => 100 * step + place;

/** Eight requests were read in one turn, then their calls' answers, again and again: any answer may have led to any call. */
test('calls in a row, each with eight triggers: a row for each owner, not for each of 8^12 ways back to it', async () => {
  const connection = await stepConnection({ memory_limit: '100MB', max_temp_directory_size: '100MB' });
  const places = Array.from({ length: IN_FLIGHT }, (_, place) => place);
  const triggers = Array.from({ length: CALLS_IN_A_ROW }, (_, step) => step + 1).flatMap((step) =>
    places.flatMap((place) => places.map((read) => `(${id(step, place)}, ${id(step - 1, read)}, ${step === 1}, ${1 / IN_FLIGHT}, ${step === 5 && read === 0})`)));
  await connection.run(`
    CREATE TEMP TABLE turn_triggers AS SELECT span_id, read_span_id, is_request, CAST(score AS DOUBLE) AS score, fresh FROM (VALUES ${triggers.join(', ')}) t(span_id, read_span_id, is_request, score, fresh);
    CREATE TEMP TABLE work AS SELECT 1 AS span_id;
    CREATE TEMP TABLE placed_calls AS SELECT 1 AS span_id;
    CREATE TEMP TABLE known_owners (span_id BIGINT, owner BIGINT, score DOUBLE)`);
  await runSteps(connection, loadSteps('portable').filter(({ name }) => name === 'turn_owners'));
  const found = await connection.runAndReadAll('SELECT count(*)::INTEGER, count(DISTINCT (span_id, owner))::INTEGER, min(score), max(score), bool_or(moved), min(span_id) FILTER (fresh) FROM turn_owners');
  const each = CALLS_IN_A_ROW * IN_FLIGHT * IN_FLIGHT;
  expect(found.getRows()).toEqual([[each, each, 1 / IN_FLIGHT, 1 / IN_FLIGHT, false, id(5, 0)]]);
});
