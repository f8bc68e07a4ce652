// One statement of a stranger for DuckDB: prepared, with its values, and what its errors are called.
import { StatementType } from '@duckdb/node-api';
import type { DuckDBConnection, DuckDBPreparedStatement } from '@duckdb/node-api';
import { bindParams, hasParams } from '../ingest/duckdb-query.ts';
import type { QueryParams } from '../ingest/duckdb-query.ts';
import { TracehouseError } from '../schema/errors.ts';

export function sqlError(error: unknown): TracehouseError {
  if (error instanceof TracehouseError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (/^(Parser|Syntax) Error/i.test(message)) return new TracehouseError('sql-syntax', message, { cause: error });
  if (/^(Permission|TransactionContext) Error|read-only/i.test(message)) return new TracehouseError('sql-forbidden', message, { cause: error });
  // An appender does not say what kind its errors are.
  if (/^Out of Memory Error|^(?:IO Error|Failed to append): (?:Could not write|.*(?:No space left|File too large|could not allocate|failed to (?:allocate|pin)))/i.test(message)) {
    return new TracehouseError('sql-memory', 'the statement needs more memory or disk than it may have', { mend: 'narrow its time range or aggregate earlier', cause: error });
  }
  // Where our files lie is nobody's business.
  return new TracehouseError('sql-failed', /^(?:IO Error|Failed to append)/i.test(message) ? message.replaceAll(/(["'])\/.*?\1/g, '$1…$1') : message, { cause: error });
}

export async function prepareOne(connection: DuckDBConnection, sql: string): Promise<DuckDBPreparedStatement> {
  const statements = await connection.extractStatements(sql);
  if (statements.count !== 1) throw new TracehouseError('sql-forbidden', 'only one statement at a time is allowed');
  const prepared = await statements.prepare(0);
  if (prepared.statementType !== StatementType.SELECT && prepared.statementType !== StatementType.EXPLAIN) {
    throw new TracehouseError('sql-forbidden', 'only statements that read are allowed');
  }
  return prepared;
}

export const parameterNames = (prepared: DuckDBPreparedStatement): string[] => Array.from({ length: prepared.parameterCount }, (_, at) => prepared.parameterName(at + 1));

/** Named parameters that are not given are null. */
function complete(names: readonly string[], params: QueryParams | undefined): QueryParams | undefined {
  const is_named = names.some((name) => !/^\d+$/.test(name));
  if (!is_named || Array.isArray(params)) return params;
  return { ...Object.fromEntries(names.map((name) => [name, null])), ...params };
}

/** Error: sql-params. */
export function bindTo(prepared: DuckDBPreparedStatement, asked: QueryParams | undefined): void {
  const names = parameterNames(prepared);
  const takes = names.length === 0 ? 'it takes none' : `it takes ${names.map((name) => `$${name}`).join(', ')}`;
  const unknown = Array.isArray(asked) ? undefined : Object.keys(asked ?? {}).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TracehouseError('sql-params', `the statement has no parameter $${unknown}: ${takes}`);
  const params = complete(names, asked);
  const given = params === undefined ? 0 : Object.keys(params).length;
  if (given !== prepared.parameterCount) throw new TracehouseError('sql-params', `the statement has ${prepared.parameterCount} parameters, ${given} were given: ${takes}`);
  if (!hasParams(params)) return;
  const { values, types } = bindParams(params);
  try {
    prepared.bind(values, types);
  } catch (error) {
    throw new TracehouseError('sql-params', error instanceof Error ? error.message : String(error), { cause: error });
  }
}
