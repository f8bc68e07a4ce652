// Which texts of a batch are of few values (few-values.ts): its dictionary columns, and the names of node and boot.
import { ORIGIN_COLUMNS, RELATIONS } from '../schema/relations.ts';
import type { Column, RelationName } from '../schema/relations.ts';
import type { Batch } from './batch.ts';
import { FewValues } from './few-values.ts';
import type { ColumnName, Enumerations } from './few-values.ts';
import type { TableShape } from './segment-tables.ts';

/** Others have a row now and then. */
const OF_MANY_ROWS: readonly RelationName[] = ['socket_events', 'messages', 'thread_events'];

const dictionaries = (columns: readonly Column[]): Record<string, readonly string[]> => Object.fromEntries(columns.filter(({ type }) => type === 'dict').map(({ name, values = [] }) => [name, values]));

export const fewValuesOfBatches = (tables: readonly TableShape[]): FewValues => new FewValues(tables, Object.fromEntries(OF_MANY_ROWS.map((relation) => [relation, dictionaries([...ORIGIN_COLUMNS, ...RELATIONS[relation].columns])])));

function valuesIn(batch: Batch, relation: RelationName, column: string): readonly string[] {
  if (column === 'node') return [batch.node];
  if (column === 'boot_id') return [batch.boot_id];
  const data = batch.tables[relation]?.columns[column];
  return data?.type === 'dict' ? data.dictionary : [];
}

const hasRows = (batch: Batch, relation: RelationName): boolean => (batch.tables[relation]?.rows ?? 0) > 0;

/** Of a batch that is stored. Returns the columns in which something new came. */
export const noteBatch = (few_values: FewValues, batch: Batch): ColumnName[] =>
  few_values.columns.filter(([table, column]) => hasRows(batch, table as RelationName) && few_values.note([table, column], valuesIn(batch, table as RelationName, column)));

/** Columns of a file in which a batch has values that the file has no number for. */
export function outgrownBy(batch: Batch, enumerations: Enumerations): ColumnName[] {
  const found: ColumnName[] = [];
  for (const [table, columns] of enumerations) {
    if (!hasRows(batch, table as RelationName)) continue;
    for (const [column, numbers] of columns) if (!valuesIn(batch, table as RelationName, column).every((value) => numbers.has(value))) found.push([table, column]);
  }
  return found;
}
