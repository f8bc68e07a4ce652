import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readRecording } from '../ingest/recording.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { runUserSql } from '../queries/sql-gate.ts';
import { packageRoot } from '../schema/package-root.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const root = packageRoot();
const article = readFileSync(join(root, 'queries/article/thread-read-then-write.sql'), 'utf8');

test('the recording that ships: the idea in one query over raw events finds the calls that the correlation finds', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder() });
  onTestFinished(() => warehouse.close());
  for await (const batch of readRecording(join(root, 'recordings/demo.arrow'))) await warehouse.apply(batch);
  await new Correlator(warehouse).finish();
  const edges = async (sql: string): Promise<unknown[][]> => (await runUserSql(warehouse, { sql })).rows.map((row) => row.slice(0, 3).map(String));
  const found = await edges(article);
  expect(found).toEqual(
    await edges(`
      SELECT cause.service_name AS caller, effect.service_name AS callee, count(*) AS calls
      FROM spans AS effect JOIN spans AS call ON call.span_id = effect.parent_span_id JOIN spans AS cause ON cause.span_id = call.parent_span_id
      WHERE effect.kind = 'server' AND cause.kind = 'server'
      GROUP BY ALL ORDER BY calls DESC, caller, callee`),
  );
  expect(found.map(([caller, callee]) => `${caller} ${callee}`)).toEqual(['nginx shop', 'shop pricing', 'shop catalog', 'payments bank', 'shop payments']);
});

test('the README shows the query as it is', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const shown = /```sql\n([\s\S]*?)```/.exec(readme)?.[1]?.trim() ?? '';
  expect(shown).toContain('ASOF JOIN');
  expect(article).toContain(shown);
});
