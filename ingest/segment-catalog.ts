// The segments that are attached, and the views over them. Files come and go; no query meets a gap, because a new file
// is attached before the views name it, and an old one is detached only some time after they stopped naming it.
import { setMaxListeners } from 'node:events';
import { rm } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { DuckDBConnection } from '@duckdb/node-api';
import type { KeptViews, TableFiles } from './cold-files.ts';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { ALL_TEXT, enumerate } from './few-values.ts';
import type { EnumeratedFile, Enumerations } from './few-values.ts';
import { GivenUpFiles } from './given-up-files.ts';
import { Mutex } from './mutex.ts';
import type { Lineage } from './segment-replaced.ts';
import type { SegmentKind } from './segment-names.ts';
import { templateSchema } from './segment-tables.ts';
import type { SegmentTables } from './segment-tables.ts';
import { UnreadFiles } from './unread-files.ts';
import type { UnreadLimits } from './unread-files.ts';

/** `enumerations`: only while it is written to. */
export interface Segment extends EnumeratedFile {
  readonly kind: SegmentKind;
  readonly uid: string;
  readonly level: number;
  /** spare: empty, becomes the open one next. sealing: no longer written to, still with a write-ahead log. */
  state: 'spare' | 'open' | 'sealing' | 'sealed';
  /** Name of its database in the instance; another when it has been attached anew. */
  alias: string;
  readonly path: string;
  /** raw: times of its rows; derived: span end times in (from_ns, to_ns]. */
  from_ns: bigint;
  to_ns: bigint;
  /** Rows a table, once sealed. */
  readonly rows: ReadonlyMap<string, number> | null;
  readonly bytes: number;
  /** raw, sealed: apply_no of its last batch; null = not known, may be any. */
  readonly last_apply_no: bigint | null;
  /** Wall time at which the file was made. */
  readonly born_ms: number;
  /** Of a rewritten one: what its rows were called before. */
  readonly lineage?: Lineage;
}

export interface FileLayout {
  readonly row_group: number;
  readonly block_bytes: number;
}

/**
 * Row groups of a fifth of a full batch: a transaction that fills row groups of a table is compressed at once and stays out of the
 * write-ahead log; fewer rows go through the log in full and are compressed at the checkpoint, at twice the cost. Of messages and
 * thread events a batch holds fewer than of socket events. Small blocks: DuckDB fills a whole one with ones for each column of each
 * row group, only to note that no row is missing.
 */
export const OPEN_LAYOUT: FileLayout = { row_group: 6_144, block_bytes: 65_536 };
/** Of files that stay: what is alike lies together over so many rows. DuckDB's own defaults. */
export const LASTING_LAYOUT: FileLayout = { row_group: 122_880, block_bytes: 262_144 };

/** A database that is not there yet. */
export const attachNewText = (path: string, alias: string, { row_group, block_bytes }: FileLayout): string =>
  `ATTACH ${sqlText(path)} AS ${sqlName(alias)} (ROW_GROUP_SIZE ${row_group}, BLOCK_SIZE ${block_bytes}, STORAGE_VERSION 'latest')`;

export class SegmentCatalog {
  readonly #connection: DuckDBConnection;
  readonly #tables: SegmentTables;
  readonly #log: (line: string) => void;
  readonly #retire_after_ms: number;
  readonly #mutex = new Mutex();
  readonly #retiring = new Set<Promise<void>>();
  readonly #given_up = new GivenUpFiles({ attach: ({ path, alias }) => this.attachWritable(path, alias), detach: ({ alias }) => this.detach(alias) });
  readonly #cold: KeptViews;
  readonly #lasting: ReadonlyMap<string, string>;
  /** Made by this process, so that they have every table and column of today, in today's order; uids. */
  readonly #whole = new Set<string>();
  /** On their way out, or not to be removed: their files may still be there at the next start. */
  readonly #leaving = new Set<Segment>();
  readonly #unread_files = new UnreadFiles({ attach: (path, alias) => this.attachReadOnly(path, alias), detach: (alias) => this.detach(alias), unnamed: () => this.#unnamed(), log: (line) => this.#log(line) });
  #segments: readonly Segment[] = [];
  #cold_files: readonly TableFiles[] = [];
  #held: Promise<unknown> = Promise.resolve();
  #closing = new AbortController();

  constructor(connection: DuckDBConnection, tables: SegmentTables, options: { log: (line: string) => void; retire_after_ms: number; cold: KeptViews; lasting: ReadonlyMap<string, string> }) {
    this.#connection = connection;
    this.#tables = tables;
    this.#log = options.log;
    this.#cold = options.cold;
    this.#lasting = options.lasting;
    this.#retire_after_ms = options.retire_after_ms;
    setMaxListeners(0, this.#closing.signal); // one a file that is on its way out
  }

  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /** Exported files that the views name besides; another list when it has changed. */
  get cold_files(): readonly TableFiles[] {
    return this.#cold_files;
  }

  of(kind: SegmentKind): Segment[] {
    return this.#segments.filter((segment) => segment.kind === kind);
  }

  sealed(kind: SegmentKind): Segment[] {
    return this.#segments.filter((segment) => segment.kind === kind && segment.state === 'sealed');
  }

  /** A relation over only those segments that fit, to be read soon: the files it names stay about retire_after_ms. */
  relationOver(kind: SegmentKind, table: string, fits: (segment: Segment) => boolean): string {
    const fitting = this.of(kind).filter((segment) => segment.state !== 'spare' && fits(segment));
    const holding = fitting.filter((segment) => mayHold(segment, table));
    this.#unread_files.noteRead(holding);
    // Matching columns by name takes DuckDB a millisecond a file and statement.
    const [first] = fitting;
    if (first === undefined || !fitting.every(({ uid }) => this.#whole.has(uid))) return `(${relationText(kind, table, fitting)})`;
    return `(${(holding.length === 0 ? [first] : holding).map(({ alias }) => `FROM ${sqlName(alias)}.main.${sqlName(table)}`).join(' UNION ALL ')})`;
  }

  attachReadOnly(path: string, alias: string): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#connection.run(`ATTACH ${sqlText(path)} AS ${sqlName(alias)} (READ_ONLY)`);
    });
  }

  /** An existing database that was open: its blocks are what they were. */
  attachWritable(path: string, alias: string): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#connection.run(`ATTACH ${sqlText(path)} AS ${sqlName(alias)} (ROW_GROUP_SIZE ${OPEN_LAYOUT.row_group}, STORAGE_VERSION 'latest')`);
    });
  }

  /** A new database without tables. */
  attachNew(path: string, alias: string, layout: FileLayout): Promise<void> {
    return this.#mutex.run(() => this.#attachNew(path, alias, layout));
  }

  async #attachNew(path: string, alias: string, layout: FileLayout): Promise<void> {
    await this.#connection.run(attachNewText(path, alias, layout));
  }

  /** Of a file made elsewhere, which has every table and column of today. */
  noteWhole(uid: string): void {
    this.#whole.add(uid);
  }

  /** After DuckDB gave up on a file (isInvalidated): readers of it fail until this is done. Error segment-busy: one of them still has it. */
  attachAgain(segment: Segment): Promise<void> {
    return this.#given_up.openAgain(segment);
  }

  /** What attachAgain has failed for. */
  attachGivenUp(): Promise<void> {
    return this.#given_up.openAll();
  }

  /** A new database with all tables of its kind. Where DuckDB refuses its enumerations it has none, and `made` says so. */
  create(path: string, kind: SegmentKind, made: { uid: string; alias: string; enumerations?: Enumerations }, layout: FileLayout = OPEN_LAYOUT): Promise<void> {
    const { uid, alias, enumerations } = made;
    return this.#mutex.run(async () => {
      try {
        await this.#attachNew(path, alias, layout);
        await this.#tables.create(this.#connection, kind, alias);
        if (enumerations !== undefined) {
          await enumerate(this.#connection, alias, enumerations).catch((error: Error) => {
            if (!/^(Parser|Binder|Conversion|Invalid Input) Error/.test(error.message)) throw error;
            made.enumerations = ALL_TEXT;
            this.#log(`${path} holds texts as they are: ${error.message}`);
          });
        }
        this.#whole.add(uid);
      } catch (error) {
        await this.#connection.run(`DETACH ${sqlName(alias)}`).catch(() => undefined);
        await removeDatabase(path).catch(() => undefined);
        throw error;
      }
    });
  }

  detach(alias: string): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#connection.run(`DETACH ${sqlName(alias)}`);
    });
  }

  /** Replaces the list of segments of a kind and the views over them, in one transaction. */
  publish(kind: SegmentKind, change: (segments: Segment[]) => Segment[]): Promise<void> {
    return this.#mutex.run(async () => {
      const next = change(this.of(kind)).toSorted((a, b) => (a.from_ns < b.from_ns ? -1 : a.from_ns > b.from_ns ? 1 : 0));
      // An exported file may have gone since it was looked for.
      await this.#showViews(kind, next).catch(() => this.#showViews(kind, next));
      this.#cold.published(kind, next);
      this.#segments = [...this.#segments.filter((segment) => segment.kind !== kind), ...next];
      this.#cold_files = this.#cold.files;
    });
  }

  async #showViews(kind: SegmentKind, segments: readonly Segment[]): Promise<void> {
    const views = this.#tables.of(kind).map(({ name }) => `CREATE OR REPLACE VIEW memory.stored.${sqlName(name)} AS ${[relationText(kind, name, segments), ...(kind === 'raw' ? [this.#lasting.get(name)] : [])].filter((part) => part !== undefined).join(' UNION ALL BY NAME ')}`);
    try {
      views.push(...this.#cold.changedViews(kind, segments));
      if (views.length === 0) return;
      await this.#connection.run(`BEGIN; ${views.join('; ')}; COMMIT`);
    } catch (error) {
      await this.#connection.run('ROLLBACK').catch(() => undefined);
      await this.#cold.forget();
      throw error;
    }
  }

  /** Attaches files anew that were read and are not any more (unread-files.ts). `except`: about to go. */
  async renewUnread(kind: SegmentKind, except: readonly Segment[] = [], limits?: UnreadLimits): Promise<void> {
    const show = (rename: () => void): Promise<void> => this.publish(kind, (segments) => {
      rename();
      return segments;
    });
    const renewed = await this.#unread_files.renew(this.sealed(kind).filter((segment) => !except.includes(segment)), show, limits);
    if (renewed !== null) void this.#untilGone(renewed.gone);
  }

  /** Closing waits for it. */
  #untilGone(gone: Promise<void>): Promise<void> {
    const done = gone.finally(() => this.#retiring.delete(done));
    this.#retiring.add(done);
    return done;
  }

  /** Whatever named files that the views do not name any more has read them. */
  async #unnamed(): Promise<void> {
    await delay(this.#retire_after_ms, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    await this.#held;
  }

  /** Segments of a kind that no longer count, and whose files may still be there at the next start. A sealed one counts while its name of an open one leaves: both have one uid. */
  leaving(kind: SegmentKind): Segment[] {
    const counting = new Set(this.of(kind).map(({ uid }) => uid));
    return [...this.#leaving].filter((segment) => segment.kind === kind && !counting.has(segment.uid));
  }

  /** Its file could not be removed. Whatever is written from now on names it as replaced, so that the next start deletes it. */
  leaves(segment: Segment): void {
    this.#leaving.add(segment);
  }

  /** Detaches and deletes segments that the views no longer name; settles when that is done. */
  retire(segments: readonly Segment[]): Promise<void> {
    for (const segment of segments) this.leaves(segment);
    return this.#untilGone(this.#retire(segments));
  }

  async #retire(segments: readonly Segment[]): Promise<void> {
    if (segments.length === 0) return;
    await this.#unnamed();
    for (const segment of segments) {
      try {
        await this.detach(segment.alias);
        await removeDatabase(segment.path);
        this.#leaving.delete(segment);
        // A sealed one has the uid of the open one that leaves.
        if (this.#segments.some(({ uid }) => uid === segment.uid)) continue;
        this.#whole.delete(segment.uid);
        this.#unread_files.forget(segment.uid);
      } catch (error) {
        this.#log(`could not remove ${segment.path}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }

  /** While it lasts, files stay that the views named when it began: it may hold a transaction that still sees those. */
  holdFilesFor(work: Promise<unknown>): void {
    this.#held = Promise.allSettled([this.#held, work]).then(() => undefined);
  }

  /** Settles when every retired file is gone, and waits no longer than it must: nobody reads any more. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#retiring);
  }
}

export async function removeDatabase(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(`${path}.wal`, { force: true });
}

/** Rows of a sealed segment are known: most have none for most tables. */
const mayHold = ({ rows }: Segment, table: string): boolean => rows === null || (rows.get(table) ?? 0) > 0;

function relationText(kind: SegmentKind, table: string, segments: readonly Segment[]): string {
  const name = sqlName(table);
  const parts = [`SELECT * FROM memory.${templateSchema(kind)}.${name}`];
  for (const segment of segments) if (mayHold(segment, table)) parts.push(`SELECT * FROM ${sqlName(segment.alias)}.main.${name}`);
  return parts.join(' UNION ALL BY NAME ');
}
