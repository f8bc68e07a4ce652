// The rows of a batch as DuckDB table functions: INSERT ... SELECT * FROM tracehouse_rows_<lane>_<relation>() copies each
// column's memory into DuckDB's chunks, 2,048 rows a call, while the work of storing them runs outside the event loop.
import { DuckDBTableFunction, BIGINT, BLOB, BOOLEAN, ENUM8, INTEGER, VARCHAR } from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBType } from '@duckdb/node-api';
import duckdb from '@duckdb/node-bindings';
import { RELATIONS, RELATION_NAMES } from '../schema/relations.ts';
import type { Column, ColumnType, RelationName } from '../schema/relations.ts';
import type { ColumnData, TableData, Validity } from './batch.ts';
import { StringWriter, encodeDictionary } from './duckdb-strings.ts';
import type { ValueNumbers } from './few-values.ts';

const CHUNK_ROWS = 2048;
const TYPES: Record<ColumnType, DuckDBType> = { int64: BIGINT, int32: INTEGER, bool: BOOLEAN, text: VARCHAR, dict: VARCHAR, blob: BLOB };
const NOTHING = new Uint8Array(CHUNK_ROWS / 8);

type ColumnWriter = (vector: duckdb.Vector, from: number, count: number) => void;

function copyValidity(vector: duckdb.Vector, validity: NonNullable<Validity>, from: number, count: number): void {
  duckdb.vector_ensure_validity_writable(vector);
  duckdb.copy_data_to_vector_validity(vector, 0, validity.buffer as ArrayBuffer, validity.byteOffset + (from >> 3), (count + 7) >> 3);
}

/** Values as their numbers in the file. Of a null the index may be anything. */
function numberWriter({ dictionary, indices }: ColumnData & { type: 'dict' }, numbers: ValueNumbers): ColumnWriter {
  const number_of = Uint8Array.from(dictionary, (value) => numbers.get(value) ?? 0);
  const bytes = new Uint8Array(CHUNK_ROWS);
  return (vector, from, count) => {
    for (let row = 0; row < count; row++) bytes[row] = number_of[indices[from + row] as number] ?? 0;
    duckdb.copy_data_to_vector(vector, 0, bytes.buffer, 0, count);
  };
}

function columnWriter(data: ColumnData | undefined, numbers: ValueNumbers | undefined, strings: StringWriter): ColumnWriter {
  if (data === undefined) return (vector, _from, count) => copyValidity(vector, NOTHING, 0, count);
  const { validity } = data;
  const write = data.type === 'dict' && numbers !== undefined ? numberWriter(data, numbers) : valueWriter(data, strings);
  if (validity === null) return write;
  return (vector, from, count) => {
    write(vector, from, count);
    copyValidity(vector, validity, from, count);
  };
}

function valueWriter(data: ColumnData, strings: StringWriter): ColumnWriter {
  switch (data.type) {
    case 'int64':
    case 'int32':
    case 'bool': {
      const { values } = data;
      const width = values.BYTES_PER_ELEMENT;
      return (vector, from, count) => duckdb.copy_data_to_vector(vector, 0, values.buffer as ArrayBuffer, values.byteOffset + from * width, count * width);
    }
    case 'dict': {
      const dictionary = encodeDictionary(data.dictionary);
      return (vector, from, count) => strings.writeDictionary(vector, dictionary, data.indices, from, count);
    }
    case 'text':
    case 'blob':
      return (vector, from, count) => strings.writeSlices(vector, data.offsets, data.data, from, count);
  }
}

/** What a table function gives. */
interface Source {
  readonly columns: readonly ColumnWriter[];
  readonly types: readonly DuckDBType[];
  readonly rows: number;
  next: number;
}

/** One a connection: what its table functions give is the table of that relation set last. */
export class BatchRows {
  readonly #lane: number;
  readonly #strings = new StringWriter(CHUNK_ROWS);
  readonly #sources = new Map<RelationName, Source>();

  constructor(lane: number) {
    this.#lane = lane;
  }

  functionName(relation: RelationName): string {
    return `tracehouse_rows_${this.#lane}_${relation}`;
  }

  /** Table functions live in the instance's system catalog: register once an instance. */
  register(connection: DuckDBConnection): void {
    for (const relation of RELATION_NAMES) connection.registerTableFunction(this.#tableFunction(relation));
  }

  /** The batch must have passed checkBatch: memory is copied without looking. `enumerated`: columns that come as numbers, which hold all values of theirs. */
  set(relation: RelationName, table: TableData, enumerated?: ReadonlyMap<string, ValueNumbers>): void {
    const columns: readonly Column[] = RELATIONS[relation].columns;
    const types = columns.map(({ name, type }) => {
      const numbers = enumerated?.get(name);
      return numbers === undefined ? TYPES[type] : ENUM8([...numbers.keys()]);
    });
    this.#sources.set(relation, { columns: columns.map((column) => columnWriter(table.columns[column.name], enumerated?.get(column.name), this.#strings)), types, rows: table.rows, next: 0 });
  }

  clear(): void {
    this.#sources.clear();
  }

  #tableFunction(relation: RelationName): DuckDBTableFunction {
    return DuckDBTableFunction.create({
      name: this.functionName(relation),
      bindFunction: (info) => {
        const source = this.#sources.get(relation);
        RELATIONS[relation].columns.forEach(({ name, type }, index) => info.addResultColumn(name, source?.types[index] ?? TYPES[type]));
        info.setCardinality(source?.rows ?? 0, true);
      },
      initFunction: (info) => info.setMaxThreads(1), // keeps the order of time
      mainFunction: (_info, output) => {
        const source = this.#sources.get(relation);
        const count = source === undefined ? 0 : Math.min(CHUNK_ROWS, source.rows - source.next);
        output.rowCount = count;
        if (source === undefined || count === 0) return;
        const from = source.next;
        source.next += count;
        source.columns.forEach((write, index) => write(duckdb.data_chunk_get_vector(output.chunk, index), from, count));
      },
    });
  }
}
