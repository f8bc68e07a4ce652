// Columns as rows, for tests: values as they are, null where there is none.
import type { Batch, ColumnData, TableData } from '../ingest/batch.ts';
import type { RelationName } from '../schema/relations.ts';

export type Row = Readonly<Record<string, bigint | number | string | boolean | null>>;

export function valueAt(column: ColumnData, row: number): bigint | number | string | boolean | null {
  if (column.validity !== null && ((column.validity[row >> 3] as number) & (1 << (row & 7))) === 0) return null;
  switch (column.type) {
    case 'int64':
    case 'int32':
      return column.values[row] as bigint | number;
    case 'bool':
      return column.values[row] === 1;
    case 'dict':
      return column.dictionary[column.indices[row] as number] as string;
    case 'text':
    case 'blob':
      return Buffer.from(column.data.subarray(column.offsets[row], column.offsets[row + 1])).toString(column.type === 'text' ? 'utf8' : 'latin1');
  }
}

export function rowsOf(table: TableData): Row[] {
  return Array.from({ length: table.rows }, (_, row) => Object.fromEntries(Object.entries(table.columns).map(([name, column]) => [name, valueAt(column, row)])));
}

export function allRows(batches: readonly Batch[], relation: RelationName): Row[] {
  return batches.flatMap((batch) => rowsOf(batch.tables[relation]));
}
