// Which texts of derived tables are of few values (few-values.ts), found in the files themselves once they are written.
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName } from './duckdb-instance.ts';
import { FewValues, MOST_VALUES } from './few-values.ts';
import type { EnumeratedFile } from './few-values.ts';
import type { TableShape } from './segment-tables.ts';

const COLUMNS = {
  spans: ['node', 'comm', 'service_name', 'local_ip', 'remote_ip', 'protocol', 'method', 'url_template', 'host', 'http_version', 'end_reason', 'parent_evidence'],
  exchanges: ['node', 'protocol', 'end_reason'],
  span_links: ['evidence'],
};

const unknown = (columns: readonly string[]): Record<string, readonly string[]> => Object.fromEntries(columns.map((column) => [column, []]));

export const fewValuesOfSpans = (tables: readonly TableShape[]): FewValues => new FewValues(tables, { spans: unknown(COLUMNS.spans), exchanges: unknown(COLUMNS.exchanges), span_links: unknown(COLUMNS.span_links) });

/** Of a file that nothing is written to any more. Columns that it enumerates hold nothing new; the others are looked through, some 2 ms each for a hundred thousand rows. */
export async function learnFrom(few_values: FewValues, connection: DuckDBConnection, { alias, enumerations, spelled_out = [] }: EnumeratedFile): Promise<void> {
  for (const [table, column] of few_values.columns) {
    const numbers = enumerations?.get(table)?.get(column);
    if (numbers !== undefined) {
      few_values.note([table, column], numbers.keys());
      continue;
    }
    const found = await connection.run(`SELECT DISTINCT ${sqlName(column)} FROM ${sqlName(alias)}.main.${sqlName(table)} WHERE ${sqlName(column)} IS NOT NULL LIMIT ${MOST_VALUES + 1}`);
    const news = few_values.note([table, column], (await found.getRows()).map(([value]) => value as string));
    if (news) few_values.noteOutgrown(spelled_out.filter((other) => other[0] === table && other[1] === column));
  }
}
