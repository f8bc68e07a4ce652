import { RELATIONS } from '../schema/relations.ts';
import type { Column, ColumnType, RelationName } from '../schema/relations.ts';
import type { ColumnData, TableData } from './batch.ts';
import { BoolBuilder, BytesBuilder, DictBuilder, Int32Builder, Int64Builder } from './column-builder.ts';
import type { ColumnBuilder } from './column-builder.ts';

const BUILDERS = {
  int64: () => new Int64Builder(),
  int32: () => new Int32Builder(),
  bool: () => new BoolBuilder(),
  dict: () => new DictBuilder(),
  text: () => new BytesBuilder('text'),
  blob: () => new BytesBuilder('blob'),
} as const satisfies Record<ColumnType, () => ColumnBuilder>;

type BuilderOf<T extends ColumnType> = ReturnType<(typeof BUILDERS)[T]>;

/** All columns of one relation. Every row sets every column: nextRow(), then the columns. */
export class TableBuilder {
  readonly #columns = new Map<string, ColumnBuilder>();
  readonly #types = new Map<string, ColumnType>();
  #capacity = 256;
  #rows = 0;

  constructor(relation: RelationName) {
    for (const column of RELATIONS[relation].columns as readonly Column[]) {
      this.#columns.set(column.name, BUILDERS[column.type]());
      this.#types.set(column.name, column.type);
    }
  }

  get rows(): number {
    return this.#rows;
  }

  column<T extends ColumnType>(name: string, type: T): BuilderOf<T> {
    if (this.#types.get(name) !== type) throw new Error(`no column ${name} of type ${type}`);
    return this.#columns.get(name) as BuilderOf<T>;
  }

  /** Number of the row to be filled. */
  nextRow(): number {
    if (this.#rows === this.#capacity) {
      this.#capacity *= 2;
      for (const column of this.#columns.values()) column.grow(this.#capacity);
    }
    this.#rows += 1;
    return this.#rows - 1;
  }

  /** One row by name, for tables that are not hot; a column that is left out is null. */
  addRow(values: Readonly<Record<string, bigint | number | string | boolean | null | undefined>>): void {
    const row = this.nextRow();
    for (const [name, column] of this.#columns) {
      const value = values[name];
      if (value === null || value === undefined) column.setNull(row);
      else if (column instanceof Int64Builder) column.setBig(row, BigInt(value));
      else if (column instanceof Int32Builder) column.set(row, Number(value));
      else if (column instanceof BoolBuilder) column.set(row, value === true);
      else if (column instanceof DictBuilder) column.set(row, String(value));
      else if (column instanceof BytesBuilder) column.setText(row, String(value));
    }
  }

  take(): TableData {
    const columns: Record<string, ColumnData> = {};
    for (const [name, column] of this.#columns) columns[name] = column.take(this.#rows);
    const rows = this.#rows;
    this.#rows = 0;
    return { rows, columns };
  }
}
