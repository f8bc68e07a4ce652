// Which SQL a stranger may run: one SELECT-like statement over the public views. Decided on DuckDB's own parse tree,
// before anything is bound, because binding alone already opens the files that a statement names.
import type { SqlSource } from '../ingest/sql-source.ts';
import { TracehouseError } from '../schema/errors.ts';

export const LONGEST_SQL = 262_144;

/** Everything else that stands in FROM with parentheses reads files, settings, other tables by name, or runs SQL from text. */
const TABLE_FUNCTIONS = new Set(['range', 'generate_series', 'unnest', 'repeat', 'repeat_row', 'json_each', 'json_tree', 'pg_timezone_names', 'icu_calendar_names']);

/** Settings and variables, state that outlives the statement, SQL in text, waiting, internals that trust their arguments. */
const FORBIDDEN_FUNCTIONS = new Set([
  'current_setting', 'getvariable', 'getenv', 'nextval', 'currval', 'setseed', 'write_log', 'parse_duckdb_log_message', 'sleep_ms',
  'json_serialize_sql', 'json_serialize_plan', 'json_deserialize_sql', 'json_execute_serialized_sql', 'query', 'query_table',
  'format_type', 'get_block_size', 'col_description', 'obj_description', 'shobj_description', 'map_to_pg_oid',
  'combine', 'finalize', 'variant_bytes_to_variant', 'variant_to_parquet_variant', 'create_sort_key',
]);
const forbiddenFunction = (name: string): boolean => FORBIDDEN_FUNCTIONS.has(name) || name.startsWith('__internal') || (name.startsWith('pg_') && name !== 'pg_typeof');

/** What SHOW without a relation may ask for, as DuckDB's parser names it. */
const SHOWABLE = new Set(['"tables"', 'tables']);

const forbidden = (what: string, mend?: string): TracehouseError => new TracehouseError('sql-forbidden', what, mend === undefined ? {} : { mend });

type Node = Record<string, unknown>;
const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null;
const textOf = (node: Node, key: string): string => (typeof node[key] === 'string' ? (node[key] as string) : '');

/** Every object of the tree, without recursion: its depth is the stranger's choice. */
function* nodesOf(tree: unknown): Generator<Node> {
  const open: unknown[] = [tree];
  while (open.length > 0) {
    const value = open.pop();
    if (!isNode(value)) continue;
    if (!Array.isArray(value)) yield value;
    for (const child of Object.values(value)) if (isNode(child)) open.push(child);
  }
}

/** Names given to CTEs anywhere; a plain name, so that out of its scope it can be neither a file nor a system view. */
function cteNames(tree: unknown): Set<string> {
  const names = new Set<string>();
  for (const node of nodesOf(tree)) {
    const map = node['cte_map'];
    const entries = isNode(map) && Array.isArray(map['map']) ? (map['map'] as unknown[]) : [];
    for (const entry of entries) {
      const name = isNode(entry) ? textOf(entry, 'key').toLowerCase() : '';
      if (!/^[\p{L}_][\p{L}\p{N}_$ -]*$/u.test(name) || /^(duckdb_|pragma_|sqlite_|pg_)/.test(name)) throw forbidden(`"${name}" is not allowed as the name of a WITH query`);
      names.add(name);
    }
  }
  return names;
}

function checkTable(node: Node, views: ReadonlySet<string>, ctes: ReadonlySet<string>): void {
  const catalog = textOf(node, 'catalog_name').toLowerCase();
  const schema = textOf(node, 'schema_name').toLowerCase();
  const name = textOf(node, 'table_name').toLowerCase();
  const path = [catalog, schema, name].filter((part) => part !== '').join('.');
  if (catalog === '' && schema === '' && (views.has(name) || ctes.has(name))) return;
  if (catalog === '' && schema === 'recurring' && ctes.has(name)) return;
  if (views.has(name) && ((catalog === '' && (schema === 'main' || schema === 'memory')) || (catalog === 'memory' && schema === 'main'))) return;
  throw forbidden(`there is no relation ${path}, or it is not public`, 'SHOW TABLES lists the relations');
}

function checkFunction(name: string, in_from: boolean): void {
  if (in_from && !TABLE_FUNCTIONS.has(name)) throw forbidden(`the table function ${name} is not allowed`);
  if (forbiddenFunction(name)) throw forbidden(`the function ${name} is not allowed`);
}

function checkTree(tree: unknown, views: ReadonlySet<string>): void {
  const ctes = cteNames(tree);
  const in_from = new Set<unknown>();
  for (const node of nodesOf(tree)) {
    const type = textOf(node, 'type');
    if (type === 'TABLE_FUNCTION') in_from.add(node['function']);
    if (type === 'BASE_TABLE') checkTable(node, views, ctes);
    if (type === 'SHOW_REF' && textOf(node, 'table_name') !== '' && !SHOWABLE.has(textOf(node, 'table_name'))) {
      throw forbidden('only SHOW TABLES is allowed', 'DESCRIBE names the columns of a relation');
    }
    if (typeof node['function_name'] === 'string') checkFunction(node['function_name'].toLowerCase(), in_from.has(node));
  }
}

interface ParseResult {
  readonly error: boolean;
  readonly error_type?: string;
  readonly error_message?: string;
  readonly statements?: readonly unknown[];
}

async function parse(source: SqlSource, sql: string): Promise<ParseResult> {
  const { rows } = await source.query('SELECT json_serialize_sql($1::VARCHAR)', [sql]);
  return JSON.parse(rows[0]?.[0] as string) as ParseResult;
}

/** EXPLAIN cannot be parsed into a tree; what it explains can. Comments are not looked through: DuckDB's may nest. */
function explained(sql: string): string[] {
  const match = /^\s*explain\s+(?:analyze\s+)?(\([\w\s,']*\)\s*)?/i.exec(sql);
  if (match === null) return [];
  const rest = sql.slice(match[0].length);
  return match[1] === undefined ? [rest] : [match[1] + rest, rest];
}

/** Throws sql-syntax or sql-forbidden. */
export async function requireAllowed(source: SqlSource, views: ReadonlySet<string>, sql: string): Promise<void> {
  if (sql.length > LONGEST_SQL) throw new TracehouseError('sql-syntax', `the statement is longer than ${LONGEST_SQL} characters`);
  let parsed = await parse(source, sql);
  for (const inner of explained(sql)) {
    const found = await parse(source, inner);
    if (!found.error) {
      parsed = found;
      break;
    }
  }
  if (parsed.error) {
    if (parsed.error_type === 'not implemented') {
      throw forbidden('only statements that read are allowed: SELECT, FROM, WITH, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES, EXPLAIN, PIVOT with its values listed');
    }
    throw new TracehouseError('sql-syntax', parsed.error_message ?? 'the statement cannot be parsed');
  }
  const statements = parsed.statements ?? [];
  if (statements.length === 0) throw new TracehouseError('sql-syntax', 'there is no statement');
  if (statements.length > 1) throw forbidden('only one statement at a time is allowed');
  checkTree(statements[0], views);
}
