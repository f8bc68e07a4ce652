// Every query that has a name: the cookbook's and the saved ones. An id means one text for ever; a name may move on to a newer one.
import type { QueryParams } from '../ingest/duckdb-query.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { TracehouseError } from '../schema/errors.ts';
import { cookbookQueries } from './cookbook.ts';
import type { QueryParameter } from './cookbook.ts';
import { isQueryId, queryId } from './query-id.ts';
import { SavedQueries } from './saved-queries.ts';
import type { SavedQuery } from './saved-queries.ts';

export const QUERY_NAME = '^[a-z0-9][a-z0-9-]{0,63}$';
export const QUERY_LIMITS = { sql_characters: 65_536, description_characters: 4096, versions: 1000, bytes: 16 * 1024 * 1024 } as const;

export interface NamedQuery {
  readonly id: string;
  readonly name: string;
  readonly source: 'cookbook' | 'saved';
  readonly description: string | null;
  readonly sql: string;
  readonly params: QueryParams | null;
  readonly parameters: readonly (Pick<QueryParameter, 'name'> & Partial<QueryParameter>)[];
  readonly saved_ns: bigint | null;
  /** All that the name has stood for, oldest first. */
  readonly versions: readonly { readonly id: string; readonly saved_ns: bigint | null }[];
}

export interface QueryRequest {
  readonly name: string;
  readonly sql: string;
  readonly params?: QueryParams | null;
  readonly description?: string | null;
}

const cookbook = (): NamedQuery[] =>
  cookbookQueries().map(({ id, name, question, parameters, sql }) => ({ id, name, source: 'cookbook', description: question, sql, params: null, parameters, saved_ns: null, versions: [{ id, saved_ns: null }] }));

const books = new WeakMap<Warehouse, QueryBook>();

/** One for each data folder, whoever asks: it alone writes the file. */
export function queryBook(warehouse: Warehouse): QueryBook {
  const book = books.get(warehouse) ?? new QueryBook(warehouse);
  books.set(warehouse, book);
  return book;
}

export class QueryBook {
  readonly #warehouse: Warehouse;
  readonly #saved: SavedQueries;

  constructor(warehouse: Warehouse) {
    this.#warehouse = warehouse;
    this.#saved = new SavedQueries(warehouse.folder);
  }

  #named({ saved_ns, parameters, ...query }: SavedQuery): NamedQuery {
    const versions = this.#saved.all().filter(({ name }) => name === query.name).map((version) => ({ id: version.id, saved_ns: version.saved_ns }));
    return { ...query, source: 'saved', parameters: parameters.map((name) => ({ name })), saved_ns, versions };
  }

  /** By name, each in its newest version. */
  list(): NamedQuery[] {
    const newest = new Map(this.#saved.all().map((query) => [query.name, query]));
    return [...cookbook(), ...[...newest.values()].map((query) => this.#named(query))].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  has(id_or_name: string): boolean {
    return cookbook().some(({ id, name }) => id === id_or_name || name === id_or_name) || this.#saved.all().some(({ id, name }) => id === id_or_name || name === id_or_name);
  }

  /** Error: query-not-found. */
  find(id_or_name: string): NamedQuery {
    const built_in = cookbook().find(({ id, name }) => id === id_or_name || name === id_or_name);
    const saved = this.#saved.all().findLast(({ id, name }) => id === id_or_name || name === id_or_name);
    if (built_in !== undefined) return built_in;
    if (saved === undefined) throw new TracehouseError('query-not-found', `there is no query ${id_or_name}`, { mend: 'GET /api/v1/queries lists them' });
    return this.#named(saved);
  }

  /** `check` names the parameters of a statement that may be run. Errors: query-name, query-limit, warehouse-read-only, and those of check. */
  async save(request: QueryRequest, now_ns: bigint, check: (sql: string) => Promise<string[]>): Promise<NamedQuery> {
    const { name, sql, params = null, description = null } = request;
    this.#requireWritable();
    if (!new RegExp(QUERY_NAME).test(name) || isQueryId(name)) throw new TracehouseError('query-name', `'${name}' is no name for a query`, { mend: 'write lower-case letters, digits and hyphens, 64 at most, and nothing that looks like an id' });
    if (cookbookQueries().some((query) => query.name === name)) throw new TracehouseError('query-name', `${name} is a query of the cookbook`, { mend: 'choose another name' });
    if (sql.length > QUERY_LIMITS.sql_characters) throw new TracehouseError('query-limit', `a saved query has at most ${QUERY_LIMITS.sql_characters} characters`);
    const parameters = await check(sql);
    const query: SavedQuery = { name, id: queryId(sql, params), sql, params, parameters, description, saved_ns: now_ns };
    await this.#saved.change((queries) => {
      const next = [...queries.filter((other) => other.name !== name || other.id !== query.id), query];
      if (next.length > QUERY_LIMITS.versions) throw new TracehouseError('query-limit', `there are ${QUERY_LIMITS.versions} saved queries already, their versions counted`, { mend: 'delete some: DELETE /api/v1/queries/{id or name}' });
      if (JSON.stringify(next, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)).length > QUERY_LIMITS.bytes) throw new TracehouseError('query-limit', `saved queries may have ${QUERY_LIMITS.bytes} bytes in all`, { mend: 'delete some' });
      return next;
    });
    return this.find(name);
  }

  /** A name goes with all its versions; an id, from every name that it has. Errors: query-not-found, query-built-in, warehouse-read-only. */
  async remove(id_or_name: string): Promise<void> {
    this.#requireWritable();
    if (this.find(id_or_name).source === 'cookbook') throw new TracehouseError('query-built-in', `${id_or_name} is a query of the cookbook, which stays`);
    await this.#saved.change((queries) => queries.filter(({ id, name }) => id !== id_or_name && name !== id_or_name));
  }

  #requireWritable(): void {
    if (this.#warehouse.read_only) throw new TracehouseError('warehouse-read-only', 'nothing is saved from here', { mend: 'ask a running `tracehouse up` or `serve`' });
  }
}

/** Values of a URL over the ones that were saved; a number or truth value stays one. Error: sql-params. */
export function paramsFor({ params, parameters }: NamedQuery, given: Readonly<Record<string, unknown>>): QueryParams {
  const saved = new Map(Object.entries(params ?? {}).map(([name, value]) => [Array.isArray(params) ? String(Number(name) + 1) : name, value as unknown]));
  for (const [name, value] of Object.entries(given)) saved.set(name, likeSaved(saved.get(name), value));
  if (parameters.length === 0 || parameters.some(({ name }) => !/^\d+$/.test(name))) return Object.fromEntries(saved);
  const missing = parameters.find(({ name }) => !saved.has(name));
  if (missing !== undefined) throw new TracehouseError('sql-params', `the query needs a value for $${missing.name}`, { mend: `add param.${missing.name}=...` });
  if (saved.size > parameters.length) throw new TracehouseError('sql-params', `the query has ${parameters.length} parameters`, { mend: 'they are counted from 1' });
  return parameters.map((_, at) => saved.get(String(at + 1)));
}

function likeSaved(saved: unknown, value: unknown): unknown {
  if (typeof saved === 'number' && typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value))) return Number(value);
  if (typeof saved === 'boolean' && (value === 'true' || value === 'false')) return value === 'true';
  return value;
}
