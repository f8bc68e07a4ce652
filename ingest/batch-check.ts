// What the storage path relies on when it copies memory: lengths, ranges, UTF-8. A batch may come from anyone.
import { isUtf8 } from 'node:buffer';
import { TracehouseError } from '../schema/errors.ts';
import { RELATIONS, RELATION_NAMES, SCHEMA_VERSION } from '../schema/relations.ts';
import type { Column } from '../schema/relations.ts';
import type { Batch, ColumnData, Validity } from './batch.ts';

function refuse(where: string, what: string): never {
  throw new TracehouseError('batch-invalid', `batch refused: ${where} ${what}`);
}

const isPresent = (validity: Validity, row: number): boolean => validity === null || ((validity[row >> 3] as number) & (1 << (row & 7))) !== 0;

function checkSlices(where: string, data: ColumnData & { type: 'text' | 'blob' }, rows: number): void {
  const { offsets, data: bytes } = data;
  if (offsets.length < rows + 1) refuse(where, `has ${offsets.length} offsets for ${rows} rows`);
  let previous = offsets[0] as number;
  if (previous < 0) refuse(where, 'starts before its data');
  for (let row = 1; row <= rows; row++) {
    const offset = offsets[row] as number;
    if (offset < previous) refuse(where, `has offsets that fall at row ${row}`);
    previous = offset;
  }
  if (previous > bytes.length) refuse(where, 'ends after its data');
  if (data.type !== 'text') return;
  if (!isUtf8(bytes.subarray(offsets[0], previous))) refuse(where, 'is not UTF-8');
  // The whole is valid; each value is too if none begins within a character.
  for (let row = 1; row < rows; row++) {
    const offset = offsets[row] as number;
    if (offset < previous && ((bytes[offset] as number) & 0xc0) === 0x80) refuse(where, `splits a character at row ${row}`);
  }
}

function checkColumn(where: string, column: Column, data: ColumnData, rows: number): void {
  if (data.type !== column.type) refuse(where, `is ${data.type}, not ${column.type}`);
  const { validity } = data;
  if (validity !== null && validity.length < (rows + 7) >> 3) refuse(where, 'has a validity bitmap that is too short');
  switch (data.type) {
    case 'int64':
    case 'int32':
      if (data.values.length < rows) refuse(where, `has ${data.values.length} values for ${rows} rows`);
      break;
    case 'bool':
      if (data.values.length < rows) refuse(where, `has ${data.values.length} values for ${rows} rows`);
      for (let row = 0; row < rows; row++) if ((data.values[row] as number) > 1) refuse(where, 'holds a byte that is neither 0 nor 1');
      break;
    case 'dict': {
      if (data.indices.length < rows) refuse(where, `has ${data.indices.length} indices for ${rows} rows`);
      const size = data.dictionary.length;
      for (let row = 0; row < rows; row++) {
        const index = data.indices[row] as number;
        if ((index < 0 || index >= size) && isPresent(validity, row)) refuse(where, `points outside its dictionary at row ${row}`);
      }
      break;
    }
    case 'text':
    case 'blob':
      checkSlices(where, data, rows);
  }
  if (column.nullable || validity === null) return;
  for (let row = 0; row < rows; row++) if (!isPresent(validity, row)) refuse(where, `is null at row ${row}`);
}

/** Throws `batch-invalid` or `batch-version`; after it, every column can be copied without looking. */
export function checkBatch(batch: Batch): void {
  if (batch.schema_version > SCHEMA_VERSION || batch.schema_version < 1) {
    throw new TracehouseError('batch-version', `batch refused: schema version ${batch.schema_version}, this warehouse knows 1 to ${SCHEMA_VERSION}`, { mend: 'update the warehouse before its collectors' });
  }
  if (batch.sequence < 1n) refuse('sequence', 'is below 1');
  for (const relation of RELATION_NAMES) {
    const table = batch.tables[relation];
    if (table === undefined || table.rows === 0) continue;
    if (!Number.isInteger(table.rows) || table.rows < 0) refuse(relation, 'has no row count');
    for (const column of RELATIONS[relation].columns as readonly Column[]) {
      const data = table.columns[column.name];
      if (data !== undefined) checkColumn(`${relation}.${column.name}`, column, data, table.rows);
      else if (batch.schema_version === SCHEMA_VERSION && !column.nullable) refuse(`${relation}.${column.name}`, 'is missing');
    }
  }
}
