// Other processes cannot open a file that is being written. So that they see the newest rows too, what is not sealed yet is
// copied into small files now and then, when somebody asks.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DuckDBConnection } from '@duckdb/node-api';
import { sqlName } from './duckdb-instance.ts';
import { Mutex } from './mutex.ts';
import type { VisibleSegment } from './sealed-reader.ts';
import { removeDatabase } from './segment-catalog.ts';
import type { Segment, SegmentCatalog } from './segment-catalog.ts';
import { SEGMENT_KINDS, newUid } from './segment-names.ts';
import { countRows } from './segment-tables.ts';

/** Beyond so many rows it is left to sealing, which comes within seconds. Spans are few, and wanted at once. */
const MOST_RAW_ROWS = 50_000;
/** A process that was just told of a copy opens it well within this time. */
const KEEP_MS = 5000;

interface Copy {
  readonly of: Segment;
  readonly visible: VisibleSegment | null;
  readonly made_ms: number;
}

export class UnsealedCopies {
  readonly #folder: string;
  readonly #catalog: SegmentCatalog;
  readonly #connection: DuckDBConnection;
  readonly #mutex = new Mutex();
  readonly #old = new Set<NodeJS.Timeout>();
  #copies: readonly Copy[] = [];

  constructor(folder: string, catalog: SegmentCatalog, connection: DuckDBConnection) {
    this.#folder = join(folder, 'tmp');
    this.#catalog = catalog;
    this.#connection = connection;
  }

  /** All files of now, with copies that are at most so old; bigger raw ones only once they are sealed. */
  visible(max_age_ms: number): Promise<VisibleSegment[]> {
    return this.#mutex.run(async () => {
      const now = performance.now();
      const copies: Copy[] = [];
      const unsealed = (): Segment[] => SEGMENT_KINDS.flatMap((kind) => this.#catalog.of(kind)).filter((segment) => segment.state === 'open' || segment.state === 'sealing');
      for (const segment of unsealed()) {
        const known = this.#copies.find((copy) => copy.of === segment);
        copies.push(known !== undefined && now - known.made_ms <= max_age_ms ? known : await this.#copy(segment));
      }
      // What was sealed meanwhile is there as itself.
      const sealed = SEGMENT_KINDS.flatMap((kind) => this.#catalog.sealed(kind));
      const uids = new Set(sealed.map(({ uid }) => uid));
      const replaced = this.#copies.filter((copy) => !copies.includes(copy));
      this.#copies = copies.filter((copy) => !uids.has(copy.of.uid));
      for (const { visible } of [...replaced, ...copies.filter((copy) => uids.has(copy.of.uid))]) if (visible !== null) this.#removeLater(visible.path);
      return [...sealed.map(visibleSegment), ...this.#copies.flatMap(({ visible }) => visible ?? [])];
    });
  }

  async #copy(segment: Segment): Promise<Copy> {
    const made_ms = performance.now();
    const rows = await countRows(this.#connection, segment.alias);
    const tables = [...rows].filter(([, count]) => count > 0).map(([name]) => name);
    const total = [...rows.values()].reduce((sum, count) => sum + count, 0);
    if (tables.length === 0 || (segment.kind === 'raw' && total > MOST_RAW_ROWS)) return { of: segment, visible: null, made_ms };
    await mkdir(this.#folder, { recursive: true });
    const id = newUid();
    const path = join(this.#folder, `copy-${id}.duckdb`);
    const alias = `copy_${id}`;
    await this.#catalog.create(path, segment.kind, alias);
    try {
      const inserts = tables.map((name) => `INSERT INTO ${sqlName(alias)}.main.${sqlName(name)} BY NAME SELECT * FROM ${sqlName(segment.alias)}.main.${sqlName(name)}`);
      await this.#connection.run(`BEGIN; ${inserts.join('; ')}; COMMIT`);
      await this.#connection.run(`CHECKPOINT ${sqlName(alias)}`);
    } catch (error) {
      await this.#connection.run('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      await this.#catalog.detach(alias).catch(() => undefined);
    }
    return { of: segment, visible: { kind: segment.kind, id, path, tables, from_ns: String(segment.from_ns) }, made_ms };
  }

  #removeLater(path: string): void {
    const timer = setTimeout(() => {
      this.#old.delete(timer);
      void removeDatabase(path);
    }, KEEP_MS);
    timer.unref();
    this.#old.add(timer);
  }

  /** Files that are left are removed with the folder's other temporary ones. */
  close(): void {
    for (const timer of this.#old) clearTimeout(timer);
    this.#connection.closeSync();
  }
}

function visibleSegment({ kind, uid, path, rows, from_ns }: Segment): VisibleSegment {
  return { kind, id: uid, path, tables: [...(rows ?? [])].filter(([, count]) => count > 0).map(([name]) => name), from_ns: String(from_ns) };
}
