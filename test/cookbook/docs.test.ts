import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { renderRows } from '../../api/cli/row-table.ts';
import { buildApp } from '../../api/app.ts';
import { readRecording } from '../../ingest/recording.ts';
import { Warehouse } from '../../ingest/warehouse.ts';
import { cookbookQueries, readCookbookQuery } from '../../queries/cookbook.ts';
import { Correlator } from '../../queries/correlator.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { keptFolder } from '../support/temporary-folder.ts';

/** The recording is fourteen seconds of seven services on one node: what is rare there is shown with lower bounds. */
const SAMPLE_PARAMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'calls-in-a-loop': { at_least: '2' },
  'connections-that-live-too-long': { longer_than_s: '0.5' },
  'error-bursts': { at_least: '1', times: '1' },
  'leaked-sockets': { after_s: '1' },
  'node-pairs-by-bytes': { within: 'true' },
  'slow-connects': { slower_than_ms: '0.5' },
  'what-changed-since-yesterday': { at: '2026-11-23T14:54:41Z', hours: '0.0017' },
};
const SAMPLE_ROWS = 3;

const HEAD = `# Cookbook

Questions that tracehouse answers, one file each in [queries/cookbook](../queries/cookbook). Each runs as it is:

    tracehouse queries                                                 # what there is
    tracehouse sql --query slowest-operations
    tracehouse sql --query slowest-operations --param service=shop --param start=2026-01-31T12:00:00Z --format csv

    curl 'localhost:7070/api/v1/queries/slowest-operations/run?format=csv&param.service=shop'
    curl localhost:7070/api/v1/sql -H 'content-type: application/json' -d '{"sql": "...", "params": {"service": "shop"}}'

A parameter that is left out, or null, is what the tables below say. Times are UTC.

## Queries of your own
    curl localhost:7070/api/v1/queries -H 'content-type: application/json' -d '{
      "name": "spans-of-a-service", "sql": "SELECT kind, count(*) AS spans FROM spans WHERE service_name = $service GROUP BY ALL", "params": {"service": "shop"} }'

The answer has an \`id\` and a \`permalink\`. The id is made from the text and the values saved with it: the same text has the same id everywhere, and a link with
an id never comes to mean something else. A name may: saved again with another text, it stands for that, and \`versions\` lists what it stood for before.
\`GET /api/v1/queries\` lists the cookbook and saved queries, \`GET /api/v1/queries/{id or name}/run\` runs one, with the formats and limits of
/api/v1/sql, \`DELETE /api/v1/queries/{id or name}\` deletes one. What is not allowed as SQL is not saved. They are kept in DATA/queries.json, which may be copied.

\`query\` of an [export](exports.md) may be the name or id of a saved query that speaks of \`$from_ns\` and \`$to_ns\`: the export takes its text over as it is then.
`;

const { folder, remove } = keptFolder();
let warehouse: Warehouse;

beforeAll(async () => {
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  for await (const batch of readRecording(join(packageRoot(), 'recordings', 'demo.arrow'))) await warehouse.apply(batch);
  await new Correlator(warehouse).finish();
});

afterAll(async () => {
  await warehouse.close();
  remove();
});

const cell = (text: string): string => text.replaceAll('|', '\\|');

async function markdown(): Promise<string> {
  const app = buildApp({ warehouse });
  const sections: string[] = [];
  for (const { name, question, assumes, can_get_wrong, parameters, sql } of cookbookQueries()) {
    const params = SAMPLE_PARAMS[name] ?? {};
    const answer = await app.inject({ url: `/api/v1/queries/${name}/run`, query: { max_rows: String(SAMPLE_ROWS), ...Object.fromEntries(Object.entries(params).map(([key, value]) => [`param.${key}`, value])) } });
    expect(answer.statusCode, answer.body).toBe(200);
    const rows = answer.json() as Parameters<typeof renderRows>[0];
    const command = `tracehouse sql --query ${name}${Object.entries(params).map(([key, value]) => ` --param ${key}=${value}`).join('')}`;
    sections.push([
      `## ${name}`, '', `**${question}**`, '', `Assumes: ${assumes}`, '', `Can get wrong: ${can_get_wrong}`, '',
      '| parameter | type | unless given | |', '|---|---|---|---|', ...parameters.map((one) => `| \`${one.name}\` | ${one.type} | ${cell(one.fallback)} | ${cell(one.doc)} |`), '',
      rows.row_count === 0 ? 'In the recording that ships there is nothing of the kind.' : `In the recording that ships:\n\n    ${command}\n\n\`\`\`\n${renderRows(rows, 200)}\n\`\`\``, '',
      '<details><summary>SQL</summary>', '', '```sql', sql.split('\n').filter((line) => !line.startsWith('-- ') && !line.startsWith('--   ')).join('\n'), '```', '', '</details>',
    ].join('\n'));
  }
  await app.close();
  return `${HEAD}\n${sections.join('\n\n')}\n`;
}

// `npx vitest run test/cookbook/docs.test.ts --update` writes it anew.
test('docs/cookbook.md says what the files say, and what they answer', async () => {
  await expect(await markdown()).toMatchFileSnapshot(join(packageRoot(), 'docs', 'cookbook.md'));
});

test('a file that does not say what it should is an error', () => {
  expect(() => readCookbookQuery('x', '-- Question: Why?\nSELECT 1')).toThrow('no Assumes');
  expect(() => readCookbookQuery('x', '-- Question: Why?\n-- Assumes: a\n-- Can get wrong: b\n-- Parameters:\n--   $x\nSELECT 1')).toThrow('describes no parameter');
  expect(readCookbookQuery('x', '-- Question: Why\n--   so?\n-- Assumes: a\n-- Can get wrong: b\nSELECT 1')).toMatchObject({ question: 'Why so?', parameters: [] });
});
