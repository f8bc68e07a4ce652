import { RELATIONS } from '../schema/relations.ts';
import type { Column, ColumnType, RelationName } from '../schema/relations.ts';
import type { ColumnData, TableData } from './batch.ts';
import { BytesBuilder } from './bytes-builder.ts';
import { BoolBuilder, DictBuilder, Int32Builder, Int64Builder } from './column-builder.ts';
import type { ColumnBuilder } from './column-builder.ts';
import { roundedUp } from './spare-memory.ts';

const FEWEST_ROWS = 256;

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
  /** 0 until there is a row. */
  #capacity = 0;
  readonly #least: number;
  #expected = 1;
  #rows = 0;
  readonly #nothing: TableData;

  /** room: for so many rows from the beginning, see SpareMemory. */
  constructor(relation: RelationName, room = FEWEST_ROWS) {
    this.#least = roundedUp(room);
    for (const column of RELATIONS[relation].columns as readonly Column[]) {
      this.#columns.set(column.name, BUILDERS[column.type]());
      this.#types.set(column.name, column.type);
    }
    this.#renew();
    this.#nothing = this.#take();
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
    if (this.#rows === this.#capacity) this.#makeRoom();
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

  /** All rows; the table is empty after that. */
  take(): TableData {
    return this.#rows === 0 ? this.#nothing : this.#take();
  }

  /** What take returned is used no longer: its memory will be. */
  giveBack(table: TableData): void {
    if (table.rows === 0) return;
    for (const [name, column] of this.#columns) {
      const data = table.columns[name];
      if (data !== undefined) column.giveBack(data);
    }
  }

  #take(): TableData {
    const columns: Record<string, ColumnData> = {};
    for (const [name, column] of this.#columns) columns[name] = column.take(this.#rows);
    const rows = this.#rows;
    this.#expected = Math.max(this.#least, roundedUp(rows));
    this.#rows = this.#capacity = 0;
    return { rows, columns };
  }

  #makeRoom(): void {
    if (this.#capacity === 0) return this.#renew();
    this.#capacity *= 2;
    for (const column of this.#columns.values()) column.grow(this.#capacity);
  }

  #renew(): void {
    this.#capacity = this.#expected;
    for (const column of this.#columns.values()) column.renew(this.#capacity);
  }
}
