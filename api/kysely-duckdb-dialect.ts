// Kysely on DuckDB's own Node.js client. Values come back as the client gives them: bigint for 64-bit integers,
// value objects for times and nested types.
import { CompiledQuery, DefaultQueryCompiler, DialectAdapterBase, sql } from 'kysely';
import type { ColumnMetadata, DatabaseConnection, DatabaseIntrospector, DatabaseMetadata, Dialect, DialectAdapter, Driver, Kysely, QueryCompiler, QueryResult, SchemaMetadata, TableMetadata } from 'kysely';
import type { DuckDBConnection } from '@duckdb/node-api';
import { bindParams, hasParams } from '../ingest/duckdb-query.ts';

export interface DuckDbDialectConfig {
  connect(): Promise<DuckDBConnection>;
  /** Each running query holds a thread of Node's pool: more would only wait there. */
  readonly max_connections?: number;
  /** Told of each use of a connection: begins when it is asked for, so that statements are known that wait for their turn. */
  readonly using?: (use: Promise<void>) => void;
}

export class DuckDbDialect implements Dialect {
  readonly #config: DuckDbDialectConfig;

  constructor(config: DuckDbDialectConfig) {
    this.#config = config;
  }

  createDriver(): Driver {
    return new DuckDbDriver(this.#config);
  }

  createQueryCompiler(): QueryCompiler {
    return new DuckDbCompiler();
  }

  createAdapter(): DialectAdapter {
    return new DuckDbAdapter();
  }

  createIntrospector(db: Kysely<any>): DatabaseIntrospector {
    return new DuckDbIntrospector(db);
  }
}

/** Text of which no character means anything to a parser. */
const PLAIN_TEXT = /^[\w .:/-]{0,200}$/;
const MOST_ITEMS = 200;
const [LEAST_BIGINT, MOST_BIGINT] = [-(2n ** 63n), 2n ** 63n - 1n];

/** A value as part of the statement, with the type that binding would give it; undefined: only bound it is certainly itself. */
function literal(value: unknown): string | undefined {
  if (typeof value === 'bigint') return value < LEAST_BIGINT || value > MOST_BIGINT ? undefined : `CAST(${value} AS BIGINT)`;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? literal(BigInt(value)) : undefined;
  if (typeof value === 'boolean') return value ? 'TRUE' : 'FALSE';
  if (typeof value === 'string') return PLAIN_TEXT.test(value) ? `CAST('${value}' AS VARCHAR)` : undefined;
  return Array.isArray(value) ? literalList(value) : undefined;
}

function literalList(values: readonly unknown[]): string | undefined {
  const type = values.every((value) => typeof value === 'bigint') ? 'BIGINT' : values.every((value) => typeof value === 'string') ? 'VARCHAR' : undefined;
  if (type === undefined || values.length === 0 || values.length > MOST_ITEMS) return undefined;
  const items = values.map(literal);
  return items.includes(undefined) ? undefined : `CAST([${items.join(', ')}] AS ${type}[])`;
}

/**
 * $1, $2 and double quotes are what DuckDB takes. What can be written into the statement is: with values that are bound, DuckDB
 * plans it once without and once with them, which for a lookup takes as long as reading what it finds.
 */
class DuckDbCompiler extends DefaultQueryCompiler {
  protected override appendValue(value: unknown): void {
    const text = literal(value);
    if (text === undefined) super.appendValue(value);
    else this.append(text);
  }
}

class DuckDbAdapter extends DialectAdapterBase {
  override get supportsReturning(): boolean {
    return true;
  }

  override get supportsTransactionalDdl(): boolean {
    return true;
  }

  /** One process has the file, so there is nobody to lock out. */
  async acquireMigrationLock(): Promise<void> {}
  async releaseMigrationLock(): Promise<void> {}
}

class DuckDbDriver implements Driver {
  readonly #config: DuckDbDialectConfig;
  readonly #free: DuckDbKyselyConnection[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #uses = new Map<DuckDbKyselyConnection, () => void>();
  #busy = 0;

  constructor(config: DuckDbDialectConfig) {
    this.#config = config;
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DuckDbKyselyConnection> {
    let over!: () => void;
    const use = new Promise<void>((resolve) => (over = resolve));
    this.#config.using?.(use);
    try {
      const connection = await this.#acquire();
      this.#uses.set(connection, over);
      return connection;
    } catch (error) {
      over();
      throw error;
    }
  }

  async #acquire(): Promise<DuckDbKyselyConnection> {
    while (this.#busy >= (this.#config.max_connections ?? 4)) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#busy += 1;
    try {
      return this.#free.pop() ?? new DuckDbKyselyConnection(await this.#config.connect());
    } catch (error) {
      this.#leave();
      throw error;
    }
  }

  async releaseConnection(connection: DuckDbKyselyConnection): Promise<void> {
    this.#uses.get(connection)?.();
    this.#uses.delete(connection);
    this.#free.push(connection);
    this.#leave();
  }

  #leave(): void {
    this.#busy -= 1;
    this.#waiting.shift()?.();
  }

  async beginTransaction(connection: DuckDbKyselyConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('BEGIN TRANSACTION'));
  }

  async commitTransaction(connection: DuckDbKyselyConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('COMMIT'));
  }

  async rollbackTransaction(connection: DuckDbKyselyConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw('ROLLBACK'));
  }

  async destroy(): Promise<void> {
    for (const connection of this.#free.splice(0)) connection.close();
  }
}

class DuckDbKyselyConnection implements DatabaseConnection {
  readonly #connection: DuckDBConnection;

  constructor(connection: DuckDBConnection) {
    this.#connection = connection;
  }

  /** A bigint is bound as BIGINT: the client's own guess, HUGEINT, would make every comparison a full scan. */
  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const bound = hasParams(query.parameters) ? bindParams(query.parameters) : undefined;
    const result = await this.#connection.run(query.sql, bound?.values, bound?.types);
    const rows = (await result.getRowObjects()) as R[];
    return { rows, ...(result.rowsChanged > 0 ? { numAffectedRows: BigInt(result.rowsChanged) } : {}) };
  }

  /** A chunk of DuckDB's at a time (2,048 rows at most); it chooses the size. */
  async *streamQuery<R>(query: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    const bound = hasParams(query.parameters) ? bindParams(query.parameters) : undefined;
    const result = await this.#connection.stream(query.sql, bound?.values, bound?.types);
    const names = result.deduplicatedColumnNames();
    const was_streaming = result.isStreaming;
    for (let chunk = await result.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk()) {
      yield { rows: chunk.getRowObjects(names) as R[] };
    }
    // The client gives no error for a statement that fails on its way: its result only stops being a stream.
    if (was_streaming && !result.isStreaming) throw new Error('the statement failed after some of its rows');
  }

  close(): void {
    this.#connection.closeSync();
  }
}

class DuckDbIntrospector implements DatabaseIntrospector {
  readonly #db: Kysely<unknown>;

  constructor(db: Kysely<unknown>) {
    this.#db = db;
  }

  async getSchemas(): Promise<SchemaMetadata[]> {
    const { rows } = await sql<SchemaMetadata>`SELECT DISTINCT schema_name AS name FROM duckdb_schemas() WHERE database_name = current_database() ORDER BY 1`.execute(this.#db);
    return rows;
  }

  async getTables(): Promise<TableMetadata[]> {
    interface ColumnRow { schema: string; table: string; is_view: boolean; name: string; type: string; nullable: boolean; fallback: string | null }
    const { rows } = await sql<ColumnRow>`
      SELECT c.schema_name AS schema, c.table_name AS table, v.view_name IS NOT NULL AS is_view,
             c.column_name AS name, c.data_type AS type, c.is_nullable AS nullable, c.column_default AS fallback
      FROM duckdb_columns() AS c
      LEFT JOIN duckdb_views() AS v ON v.database_name = c.database_name AND v.schema_name = c.schema_name AND v.view_name = c.table_name
      WHERE c.database_name = current_database() AND NOT c.internal
      ORDER BY 1, 2, c.column_index`.execute(this.#db);
    const tables = new Map<string, Omit<TableMetadata, 'columns'> & { readonly columns: ColumnMetadata[] }>();
    for (const row of rows) {
      const key = `${row.schema}.${row.table}`;
      const table = tables.get(key) ?? { name: row.table, schema: row.schema, isView: row.is_view, isForeign: false, columns: [] as ColumnMetadata[] };
      tables.set(key, table);
      table.columns.push({ name: row.name, dataType: row.type, isNullable: row.nullable, isAutoIncrementing: false, hasDefaultValue: row.fallback !== null });
    }
    return [...tables.values()];
  }

  async getMetadata(): Promise<DatabaseMetadata> {
    return { tables: await this.getTables() };
  }
}
