// What has been exported where, kept in DATA/ledger.duckdb: it outlives the segments that it speaks of.
import type { DuckDBConnection } from '@duckdb/node-api';
import { runQuery } from './duckdb-query.ts';
import type { QueryParams } from './duckdb-query.ts';
import { Mutex } from './mutex.ts';
import type { Segment } from './segment-catalog.ts';

/** An export as somebody asked for it. */
export interface ExportPlan {
  readonly export_id: string;
  /** Null: only when asked to. */
  readonly cron: string | null;
  /** Stored tables; empty where there is a query. */
  readonly relations: readonly string[];
  readonly query: string | null;
  /** A folder, or s3://bucket/prefix. */
  readonly destination: string;
  /** Rows that it has exported leave the warehouse when they are older. */
  readonly max_age_ns: bigint | null;
  /** Or, oldest first, while the warehouse is bigger. */
  readonly max_bytes: bigint | null;
  readonly created_ns: bigint;
}

/**
 * staged: whole, in DATA/exports, to be brought to its destination. done: there. retracted: its rows were computed again and
 * its successor is committed, so it is to go. superseded: gone.
 */
export type FileState = 'staged' | 'done' | 'retracted' | 'superseded';

export interface ExportFile {
  readonly export_id: string;
  readonly relation: string;
  /** Below the destination. */
  readonly path: string;
  readonly state: FileState;
  readonly rows: bigint;
  readonly bytes: bigint;
  readonly min_ns: bigint | null;
  readonly max_ns: bigint | null;
  /** SHA-256 of the file, hex. */
  readonly checksum: string;
  /** Segment that the rows were read from; null: a query's. */
  readonly segment_uid: string | null;
  readonly written_ns: bigint;
  /** Of its columns: files of one shape are read as one. Null: not known. */
  readonly shape: string | null;
}

/** Read in place of the rows of a segment that was dropped. */
export interface ColdFile extends Pick<ExportFile, 'relation' | 'path' | 'rows' | 'bytes' | 'min_ns' | 'max_ns' | 'checksum' | 'shape'> {
  readonly segment_uid: string;
  /** A folder, or s3://bucket/prefix. */
  readonly destination: string;
}

export interface ExportedSegments {
  /** Segments that may become one: exported by the same exports. */
  groupOf(segment: Segment): string;
  /** The ledger speaks of it. */
  knows(uid: string): boolean;
}

const TABLES = `
  CREATE TABLE IF NOT EXISTS ledger.exports (export_id VARCHAR, cron VARCHAR, relations VARCHAR, query VARCHAR, destination VARCHAR, max_age_ns BIGINT, max_bytes BIGINT,
    created_ns BIGINT, deleted_ns BIGINT, query_to_ns BIGINT, last_run_ns BIGINT, last_error VARCHAR);
  CREATE TABLE IF NOT EXISTS ledger.exported_segments (export_id VARCHAR, uid VARCHAR);
  CREATE TABLE IF NOT EXISTS ledger.export_files (export_id VARCHAR, relation VARCHAR, path VARCHAR, state VARCHAR, rows BIGINT, bytes BIGINT, min_ns BIGINT, max_ns BIGINT,
    checksum VARCHAR, segment_uid VARCHAR, written_ns BIGINT, cold BOOLEAN DEFAULT false, shape VARCHAR);
  CREATE TABLE IF NOT EXISTS ledger.dropped_segments (dropped_ns BIGINT, kind VARCHAR, uid VARCHAR, from_ns BIGINT, to_ns BIGINT, relation VARCHAR, rows BIGINT, segment_bytes BIGINT,
    reason VARCHAR, exported_by VARCHAR)`;
/** Those of its tables that are public. */
export const LEDGER_RELATIONS = ['exports', 'export_files', 'dropped_segments'] as const;
const FILE_COLUMNS = 'export_id, relation, path, state, rows, bytes, min_ns, max_ns, checksum, segment_uid, written_ns, shape';
/** As they are now, whatever version wrote them. */
const FILES = '(SELECT CAST(NULL AS VARCHAR) AS shape WHERE false UNION ALL BY NAME FROM ledger.export_files)';

/** Empty ones in a schema of the memory catalog. */
export async function createLedgerTables(connection: DuckDBConnection, schema: string): Promise<void> {
  await connection.run(TABLES.replaceAll('ledger.', `${schema}.`));
}

/** In segment files, but no rows of anything. */
const INTERNAL_TABLES = new Set(['replaced_segments', 'lineage', 'progress']);

const uidsOf = (segment: Segment): string[] => [segment.uid, ...(segment.lineage?.carries ?? [])];

export class ExportLedger implements ExportedSegments {
  readonly #connection: DuckDBConnection;
  readonly #mutex = new Mutex();
  readonly #exported = new Map<string, Set<string>>();
  readonly #plans = new Map<string, ExportPlan>();
  /** Files on their way, and the segments that their rows are from. */
  readonly #staged = new Map<string, { readonly export_id: string; readonly uid: string }>();
  #cold: Map<string, readonly ColdFile[]> = new Map();
  #cold_version = 0;
  #version = 0;

  private constructor(connection: DuckDBConnection) {
    this.#connection = connection;
  }

  /** The public views need its tables: in a folder of an older version that is open for reading, they are empty. */
  static async open(connection: DuckDBConnection, read_only: boolean): Promise<ExportLedger> {
    const ledger = new ExportLedger(connection);
    if (!read_only) await connection.run(`${TABLES}; ALTER TABLE ledger.export_files ADD COLUMN IF NOT EXISTS shape VARCHAR`);
    const found = await runQuery(connection, "SELECT table_name FROM duckdb_tables() WHERE database_name = 'ledger'");
    const there = new Set(found.rows.map(([name]) => name as string));
    if (!there.has('exports')) await createLedgerTables(connection, 'memory.stored');
    else for (const name of LEDGER_RELATIONS) await connection.run(`CREATE VIEW memory.stored.${name} AS SELECT * FROM ledger.${name}`);
    if (!there.has('exports')) return ledger;
    for (const row of (await runQuery(connection, 'SELECT export_id, cron, relations, query, destination, max_age_ns, max_bytes, created_ns FROM ledger.exports WHERE deleted_ns IS NULL')).rows) {
      const [export_id, cron, relations, query, destination, max_age_ns, max_bytes, created_ns] = row as [string, string | null, string, string | null, string, bigint | null, bigint | null, bigint];
      ledger.#plans.set(export_id, { export_id, cron, relations: relations === '' ? [] : relations.split(','), query, destination, max_age_ns, max_bytes, created_ns });
    }
    for (const [id, uid] of (await runQuery(connection, 'SELECT export_id, uid FROM ledger.exported_segments')).rows as [string, string][]) ledger.#mark(id, uid);
    for (const file of await ledger.files("state = 'staged'")) ledger.#noteState(file);
    await ledger.#readCold();
    return ledger;
  }

  async #readCold(): Promise<void> {
    const { columns, rows } = await runQuery(this.#connection, `
      SELECT f.relation, f.path, f.rows, f.bytes, f.min_ns, f.max_ns, f.checksum, f.shape, f.segment_uid, e.destination
      FROM ${FILES} f JOIN ledger.exports e ON e.export_id = f.export_id WHERE f.cold AND f.state <> 'superseded' ORDER BY f.min_ns, f.path`);
    const files = rows.map((row) => Object.fromEntries(columns.map(({ name }, at) => [name, row[at]])) as unknown as ColdFile);
    const found = new Map<string, ColdFile[]>();
    for (const file of files) {
      const same = found.get(file.relation);
      if (same === undefined) found.set(file.relation, [file]);
      else same.push(file);
    }
    this.#cold = found;
    this.#cold_version += 1;
  }

  /** Of a stored table; some of their segments may still be there. */
  coldFiles(relation: string): readonly ColdFile[] {
    return this.#cold.get(relation) ?? [];
  }

  /** Another number when coldFiles may answer something else. */
  get cold_version(): number {
    return this.#cold_version;
  }

  /** Another number after each change, until the process ends. */
  get version(): number {
    return this.#version;
  }

  get plans(): readonly ExportPlan[] {
    return [...this.#plans.values()];
  }

  #mark(export_id: string, uid: string): void {
    const uids = this.#exported.get(export_id) ?? new Set();
    this.#exported.set(export_id, uids.add(uid));
  }

  hasExported(export_id: string, segment: Segment): boolean {
    const uids = this.#exported.get(export_id);
    return uids !== undefined && uidsOf(segment).some((uid) => uids.has(uid));
  }

  /** Everything that the export has of the segment is at its destination. */
  hasArrived(export_id: string, segment: Segment): boolean {
    if (!this.hasExported(export_id, segment)) return false;
    const uids = new Set(uidsOf(segment));
    return [...this.#staged.values()].every((file) => file.export_id !== export_id || !uids.has(file.uid));
  }

  #noteState({ export_id, path, state, segment_uid }: ExportFile): void {
    const key = `${export_id} ${path}`;
    if (state === 'staged' && segment_uid !== null) this.#staged.set(key, { export_id, uid: segment_uid });
    else this.#staged.delete(key);
  }

  exportedBy(segment: Segment): string[] {
    return [...this.#exported.keys()].filter((id) => this.hasExported(id, segment)).toSorted();
  }

  groupOf(segment: Segment): string {
    return this.exportedBy(segment).join(' ');
  }

  knows(uid: string): boolean {
    return [...this.#exported.values()].some((uids) => uids.has(uid));
  }

  /** All of it or nothing, and on disk when it settles. */
  #transaction(statements: readonly (readonly [sql: string, params?: QueryParams])[]): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#connection.run('BEGIN');
      try {
        for (const [sql, params] of statements) await runQuery(this.#connection, sql, params);
        await this.#connection.run('COMMIT');
        this.#version += 1;
      } catch (error) {
        await this.#connection.run('ROLLBACK').catch(() => undefined);
        throw error;
      }
    });
  }

  async add(plan: ExportPlan): Promise<void> {
    const { export_id, cron, relations, query, destination, max_age_ns, max_bytes, created_ns } = plan;
    await this.#transaction([
      [`INSERT INTO ledger.exports VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL, NULL, NULL)`, [export_id, cron, relations.join(','), query, destination, max_age_ns, max_bytes, created_ns]],
    ]);
    this.#plans.set(export_id, plan);
  }

  /** What it has written stays, here and there; it only writes no more. */
  async remove(export_id: string, now_ns: bigint): Promise<void> {
    await this.#transaction([['UPDATE ledger.exports SET deleted_ns = $2 WHERE export_id = $1', [export_id, now_ns]]]);
    this.#plans.delete(export_id);
  }

  /** From now on the rows of the segment are in these files and in no others of this export. */
  async commitSegment(export_id: string, segment: Segment, files: readonly ExportFile[]): Promise<void> {
    const gone = segment.lineage?.supersedes ?? new Set();
    // Those on their way too: they may have arrived or arrive yet.
    const superseded = [...gone].map(
      (uid) => ["UPDATE ledger.export_files SET state = 'retracted' WHERE export_id = $1 AND segment_uid = $2 AND state IN ('staged', 'done')", [export_id, uid]] as const,
    );
    await this.#transaction([...superseded, ...insertFiles(files), ['INSERT INTO ledger.exported_segments VALUES ($1, $2)', [export_id, segment.uid]]]);
    this.#mark(export_id, segment.uid);
    for (const [key, file] of this.#staged) if (file.export_id === export_id && gone.has(file.uid)) this.#staged.delete(key);
    for (const file of files) this.#noteState(file);
  }

  /** The same for what a query answered about the time up to to_ns. */
  async commitQuery(export_id: string, to_ns: bigint, files: readonly ExportFile[]): Promise<void> {
    await this.#transaction([...insertFiles(files), ['UPDATE ledger.exports SET query_to_ns = $2 WHERE export_id = $1', [export_id, to_ns]]]);
  }

  async queryTo(export_id: string): Promise<bigint> {
    return this.#mutex.run(async () => (await runQuery(this.#connection, 'SELECT coalesce(max(query_to_ns), 0) FROM ledger.exports WHERE export_id = $1', [export_id])).rows[0]?.[0] as bigint);
  }

  /** Of all of them at once. What was retracted on its way is not done. */
  async setState(files: readonly ExportFile[], state: 'done' | 'superseded'): Promise<void> {
    if (files.length === 0) return;
    const from = state === 'done' ? 'staged' : 'retracted';
    await this.#transaction(files.map(({ export_id, path }) => ['UPDATE ledger.export_files SET state = $3 WHERE export_id = $1 AND path = $2 AND state = $4', [export_id, path, state, from]]));
    for (const file of files) {
      this.#noteState({ ...file, state });
      if (state === 'superseded') this.#forgetCold(file);
    }
  }

  #forgetCold({ relation, path, segment_uid }: ExportFile): void {
    const cold = this.coldFiles(relation);
    const left = cold.filter((other) => other.path !== path || other.segment_uid !== segment_uid);
    if (left.length === cold.length) return;
    this.#cold.set(relation, left);
    this.#cold_version += 1;
  }

  async noteRun(export_id: string, now_ns: bigint, error: string | null): Promise<void> {
    await this.#transaction([['UPDATE ledger.exports SET last_run_ns = $2, last_error = $3 WHERE export_id = $1', [export_id, now_ns, error]]]);
  }

  async files(condition: string, params: QueryParams = []): Promise<ExportFile[]> {
    const { columns, rows } = await this.#mutex.run(() => runQuery(this.#connection, `SELECT ${FILE_COLUMNS} FROM ${FILES} WHERE ${condition}`, params));
    return rows.map((row) => Object.fromEntries(columns.map(({ name }, at) => [name, row[at]])) as unknown as ExportFile);
  }

  /** One row a table: what goes, and why. Before it goes. */
  async noteDropped(segments: readonly Segment[], reasonOf: (segment: Segment) => string, now_ns: bigint): Promise<void> {
    const rows = segments.flatMap((segment) => [...(segment.rows ?? [])].filter(([table, count]) => count > 0 && !INTERNAL_TABLES.has(table)).map(([table, count]) => [segment, table, count] as const));
    // A process that is killed before the files have gone finds them again at its next start.
    const told = segments.flatMap(uidsOf).map((uid) => `'${uid}'`).join(', ');
    const statements: (readonly [string, QueryParams?])[] = [[`DELETE FROM ledger.dropped_segments WHERE uid IN (${told})`]];
    for (const [segment, table, count] of rows) {
      statements.push([
        'INSERT INTO ledger.dropped_segments VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)',
        [now_ns, segment.kind, segment.uid, segment.from_ns, segment.to_ns, table, count, segment.bytes, reasonOf(segment), this.exportedBy(segment).join(',')],
      ]);
      const export_id = await this.#standIn(segment, table);
      if (export_id === null) continue;
      const uids = uidsOf(segment).map((uid) => `'${uid}'`).join(', ');
      statements.push([`UPDATE ledger.export_files SET cold = true WHERE export_id = $1 AND relation = $2 AND segment_uid IN (${uids})`, [export_id, table]]);
    }
    await this.#transaction(statements);
    await this.#mutex.run(() => this.#readCold());
  }

  /** The export, if any, whose files of the table are read in place of the segment's rows: one, or they would be read twice. Folders are nearer; two exports to one have the same files, which are as the later one wrote them. */
  async #standIn(segment: Segment, table: string): Promise<string | null> {
    const uids = uidsOf(segment).map((uid) => `'${uid}'`).join(', ');
    const found = await this.#mutex.run(() => runQuery(this.#connection, `
      SELECT f.export_id FROM ledger.export_files f JOIN ledger.exports e ON e.export_id = f.export_id
      WHERE f.relation = $1 AND f.segment_uid IN (${uids}) AND f.state <> 'superseded'
      GROUP BY f.export_id, e.destination ORDER BY NOT starts_with(e.destination, '/'), max(f.written_ns) DESC, f.export_id LIMIT 1`, [table]));
    return (found.rows[0]?.[0] ?? null) as string | null;
  }
}

/** A statement for many: each is planned. */
const FILES_TOGETHER = 100;

function insertFiles(files: readonly ExportFile[]): (readonly [string, QueryParams])[] {
  const names = FILE_COLUMNS.split(', ') as (keyof ExportFile)[];
  return Array.from({ length: Math.ceil(files.length / FILES_TOGETHER) }, (_, part) => {
    const rows = files.slice(part * FILES_TOGETHER, (part + 1) * FILES_TOGETHER);
    const places = rows.map((_row, row) => `(${names.map((_name, at) => `$${row * names.length + at + 1}`).join(', ')})`);
    return [`INSERT INTO ledger.export_files (${FILE_COLUMNS}) VALUES ${places.join(', ')}`, rows.flatMap((file) => names.map((name) => file[name]))] as const;
  });
}
