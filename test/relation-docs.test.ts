import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cookbookQueries } from '../queries/cookbook.ts';
import { publicColumns } from '../api/lookups/relation-columns.ts';
import type { PublicColumn } from '../api/lookups/relation-columns.ts';
import { describeColumn, describeRelation } from '../api/relation-docs.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { packageRoot } from '../schema/package-root.ts';
import { PUBLIC_RELATIONS } from '../schema/public-relations.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let columns: PublicColumn[];

beforeAll(async () => {
  warehouse = await Warehouse.open({ folder, seal_every_ms: 0 });
  columns = await publicColumns(warehouse);
});

afterAll(async () => {
  await warehouse.close();
  remove();
});

test('every public relation and every column of it is described', () => {
  const silent = columns.filter(({ relation, name }) => describeColumn(relation, name).doc === '' || describeRelation(relation) === '');
  expect(silent.map(({ relation, name }) => `${relation}.${name}`)).toEqual([]);
});

test('nothing is described that is not there', () => {
  const there = new Set(columns.map(({ relation, name }) => `${relation}.${name}`));
  const described = Object.entries(PUBLIC_RELATIONS).flatMap(([relation, doc]) => Object.keys(doc.columns).map((name) => `${relation}.${name}`));
  expect(described.filter((name) => !there.has(name))).toEqual([]);
});

/** A cell of a Markdown table. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

function markdown(): string {
  const relations = [...new Set(columns.map(({ relation }) => relation))];
  const sections = relations.map((relation) => {
    const rows = columns
      .filter((column) => column.relation === relation)
      .map(({ name, type }) => {
        const { doc, unit } = describeColumn(relation, name);
        return `| \`${name}\` | ${type} | ${cell(unit === undefined ? doc : `${doc} (${unit})`)} |`;
      });
    return [`## ${relation}`, '', describeRelation(relation), '', '| column | type | |', '|---|---|---|', ...rows].join('\n');
  });
  const examples = cookbookQueries().map(({ name, question }) => `- [${question}](cookbook.md#${name})`);
  return [
    '# Relations',
    '',
    'What SQL may ask: `tracehouse sql "..."`, POST /api/v1/sql. GET /api/v1/schema says the same to programs. Times are UTC; types are DuckDB\'s.',
    '',
    sections.join('\n\n'),
    '',
    '# Questions to start from',
    '',
    examples.join('\n'),
    '',
  ].join('\n');
}

// `npx vitest run test/relation-docs.test.ts --update` writes it anew.
test('docs/relations.md says what the views are', async () => {
  const path = join(packageRoot(), 'docs', 'relations.md');
  expect(existsSync(path)).toBe(true);
  await expect(markdown()).toMatchFileSnapshot(path);
});
