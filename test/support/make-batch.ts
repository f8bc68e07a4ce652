// Batches from plain row objects, for tests: absent columns get 0, '' or null as their type allows.
import type { Batch, ColumnData, TableData } from '../../ingest/batch.ts';
import { RELATIONS, RELATION_NAMES, SCHEMA_VERSION } from '../../schema/relations.ts';
import type { Column, RelationName } from '../../schema/relations.ts';

export type Cell = bigint | number | boolean | string | Uint8Array | null;
export type Row = Readonly<Record<string, Cell>>;

function makeColumn(column: Column, rows: readonly Row[]): ColumnData {
  const cells = rows.map((row) => row[column.name] ?? null);
  let validity: Uint8Array | null = null;
  if (column.nullable) {
    const bits = new Uint8Array((rows.length + 7) >> 3);
    cells.forEach((cell, row) => {
      if (cell !== null) bits[row >> 3] = (bits[row >> 3] as number) | (1 << (row & 7));
    });
    validity = bits;
  }
  switch (column.type) {
    case 'int64':
      return { type: 'int64', values: BigInt64Array.from(cells, (cell) => BigInt((cell ?? 0) as bigint | number)), validity };
    case 'int32':
      return { type: 'int32', values: Int32Array.from(cells, (cell) => Number(cell ?? 0)), validity };
    case 'bool':
      return { type: 'bool', values: Uint8Array.from(cells, (cell) => (cell === true ? 1 : 0)), validity };
    case 'dict': {
      const dictionary = [...new Set(cells.map((cell) => (cell ?? '') as string))];
      const places = new Map(dictionary.map((text, index) => [text, index]));
      return { type: 'dict', indices: Int32Array.from(cells, (cell) => places.get((cell ?? '') as string) as number), dictionary, validity };
    }
    case 'text':
    case 'blob': {
      const parts = cells.map((cell) => (cell instanceof Uint8Array ? cell : new TextEncoder().encode((cell ?? '') as string)));
      const offsets = new Int32Array(rows.length + 1);
      parts.forEach((part, row) => (offsets[row + 1] = (offsets[row] as number) + part.length));
      return { type: column.type, offsets, data: new Uint8Array(Buffer.concat(parts)), validity };
    }
  }
}

export function makeTable(relation: RelationName, rows: readonly Row[]): TableData {
  const columns: readonly Column[] = RELATIONS[relation].columns;
  return { rows: rows.length, columns: Object.fromEntries(columns.map((column) => [column.name, makeColumn(column, rows)])) };
}

export function makeBatch(header: Partial<Omit<Batch, 'tables'>>, rows: Partial<Record<RelationName, readonly Row[]>> = {}): Batch {
  return {
    schema_version: SCHEMA_VERSION, node: 'node-1', boot_id: 'boot-1', run_id: 1n, sequence: 1n,
    mono_ns: 0n, utc_ns: 0n, error_ns: 0n, watermark_ns: 0n, final: false,
    ...header,
    tables: Object.fromEntries(RELATION_NAMES.map((name) => [name, makeTable(name, rows[name] ?? [])])) as unknown as Batch['tables'],
  };
}
