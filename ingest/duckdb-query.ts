import { BIGINT, BLOB, BOOLEAN, DOUBLE, DuckDBBlobValue, LIST, VARCHAR, listValue } from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBInstance, DuckDBMaterializedResult, DuckDBResult, DuckDBType, DuckDBValue } from '@duckdb/node-api';

export interface QueryResult {
  readonly columns: { name: string; type: string }[];
  /** bigint for 64-bit integers, DuckDB's value objects for times and nested values. */
  readonly rows: unknown[][];
}

export type QueryParams = readonly unknown[] | Readonly<Record<string, unknown>>;

/** node-api takes a bigint for HUGEINT and an integer for DOUBLE: comparisons with a BIGINT column would then convert the column and skip nothing. */
function typedValue(value: unknown): { value: DuckDBValue; type?: DuckDBType } {
  if (typeof value === 'bigint') {
    if (value >= -(1n << 63n) && value < 1n << 63n) return { value, type: BIGINT };
    return { value };
  }
  if (typeof value === 'number') return Number.isSafeInteger(value) ? { value: BigInt(value), type: BIGINT } : { value, type: DOUBLE };
  if (typeof value === 'boolean') return { value, type: BOOLEAN };
  if (typeof value === 'string') return { value, type: VARCHAR };
  if (value === null || value === undefined) return { value: null };
  if (value instanceof Uint8Array) return { value: new DuckDBBlobValue(value), type: BLOB };
  if (Array.isArray(value)) {
    const items = value.map(typedValue);
    const type = items.find((item) => item.type !== undefined)?.type ?? VARCHAR;
    return { value: listValue(items.map((item) => item.value)), type: LIST(type) };
  }
  return { value: value as DuckDBValue };
}

export interface BoundParams {
  readonly values: DuckDBValue[] | Record<string, DuckDBValue>;
  readonly types: DuckDBType[] | Record<string, DuckDBType | undefined>;
}

export function bindParams(params: QueryParams): BoundParams {
  if (Array.isArray(params)) {
    const typed = params.map(typedValue);
    return { values: typed.map((t) => t.value), types: typed.map((t) => t.type) as DuckDBType[] };
  }
  const typed = Object.entries(params).map(([name, value]) => [name, typedValue(value)] as const);
  return {
    values: Object.fromEntries(typed.map(([name, t]) => [name, t.value])),
    types: Object.fromEntries(typed.map(([name, t]) => [name, t.type])),
  };
}

export const hasParams = (params: QueryParams | undefined): params is QueryParams => params !== undefined && Object.keys(params).length > 0;

export function resultColumns(result: DuckDBResult): { name: string; type: string }[] {
  const types = result.columnTypes();
  return result.deduplicatedColumnNames().map((name, index) => ({ name, type: String(types[index]) }));
}

/**
 * Of a result that does not stream: its rows are there already. `getRows` asks a thread of Node's pool for each 2,048 of them, and whether there are more, and
 * on busy processors each answer takes milliseconds to come.
 */
export const rowsOf = (result: DuckDBMaterializedResult): DuckDBValue[][] => Array.from({ length: result.chunkCount }, (_, at) => result.getChunk(at).getRows()).flat();

/** All rows of a statement, or of the last of several of which only that one has rows; bigint for 64-bit integers. */
export const readRows = async (connection: DuckDBConnection, sql: string): Promise<DuckDBValue[][]> => rowsOf(await connection.run(sql));

export async function runQuery(connection: DuckDBConnection, sql: string, params?: QueryParams): Promise<QueryResult> {
  const bound = hasParams(params) ? bindParams(params) : undefined;
  const result = bound === undefined ? await connection.run(sql) : await connection.run(sql, bound.values, bound.types);
  return { columns: resultColumns(result), rows: rowsOf(result) };
}

/** Connections for short trusted queries. Each running one holds a thread of Node's pool, so there are few. */
export class ConnectionPool {
  readonly #instance: DuckDBInstance;
  readonly #limit: number;
  readonly #free: DuckDBConnection[] = [];
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(instance: DuckDBInstance, limit: number) {
    this.#instance = instance;
    this.#limit = limit;
  }

  async use<T>(work: (connection: DuckDBConnection) => Promise<T>): Promise<T> {
    while (this.#busy >= this.#limit) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy += 1;
    let connection: DuckDBConnection | undefined;
    try {
      connection = this.#free.pop() ?? (await this.#instance.connect());
      return await work(connection);
    } finally {
      this.#busy -= 1;
      if (connection !== undefined) this.#free.push(connection);
      this.#waiting.shift()?.();
    }
  }

  closeSync(): void {
    for (const connection of this.#free.splice(0)) connection.closeSync();
  }
}
