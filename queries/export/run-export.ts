// One run of an export: every sealed segment that it has not exported yet, each of its rows once. A segment's files are
// written where nobody looks, then one transaction of the ledger says that its rows are in them, then they are brought
// to their destination. Killed before that transaction, nothing has happened; after it, the rest is done again (docs/adr/0010).
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { requireRoom } from '../../ingest/disk-room.ts';
import type { ExportFile, ExportPlan } from '../../ingest/export-ledger.ts';
import type { Segment } from '../../ingest/segment-catalog.ts';
import { SEGMENT_KINDS } from '../../ingest/segment-names.ts';
import type { SegmentKind } from '../../ingest/segment-names.ts';
import type { Warehouse } from '../../ingest/warehouse.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { openDestination } from './destination.ts';
import type { Destination } from './destination.ts';
import { queryHere } from './query-runner.ts';
import type { QueryRunner } from './query-runner.ts';
import { relationsOf } from './relations.ts';
import { writeQuery } from './write-query.ts';
import { CopyInstance } from './copy-instance.ts';
import { writeSegment } from './write-parquet.ts';
import type { Copy } from './write-parquet.ts';

export interface ExportReport {
  readonly files: number;
  readonly rows: bigint;
  readonly bytes: bigint;
}

export interface RunOptions {
  /** In this process unless given. */
  readonly queries?: QueryRunner;
  readonly now_ms?: () => number;
  /** Segments that end before it are left for a later run. */
  readonly since_ns?: bigint;
  /** Asked between segments: what is left waits for the next run. */
  stopping?(): boolean;
  /** What is on its way to the destination is not waited for any more, either. */
  readonly give_up?: AbortSignal;
  progress?(report: ExportReport): void;
}

const HOUR_NS = 3_600_000_000_000n;
/** On their way to the destination. */
const FILES_AT_ONCE = 4;
const running = new WeakMap<Warehouse, Set<string>>();

/** Errors: export-busy, export-destination, export-failed, disk-full. */
export async function runExport(warehouse: Warehouse, plan: ExportPlan, options: RunOptions = {}): Promise<ExportReport> {
  const busy = running.get(warehouse) ?? new Set();
  running.set(warehouse, busy);
  if (busy.has(plan.export_id)) throw new TracehouseError('export-busy', `${plan.export_id} is running already`, { mend: 'wait until that is done' });
  busy.add(plan.export_id);
  const now_ns = (): bigint => BigInt((options.now_ms ?? Date.now)()) * 1_000_000n;
  let failed: string | null = null;
  try {
    const destination = await openDestination(plan.destination);
    const giveUp = (): void => destination.close();
    options.give_up?.addEventListener('abort', giveUp, { once: true });
    try {
      return await new ExportRun(warehouse, plan, destination, options, now_ns).run();
    } finally {
      options.give_up?.removeEventListener('abort', giveUp);
      destination.close();
    }
  } catch (error) {
    failed = (error as Error).message;
    throw error instanceof TracehouseError ? error : new TracehouseError('export-failed', `${plan.destination}: ${failed}`, { mend: 'what is left is exported by the next run', cause: error });
  } finally {
    await warehouse.exports.noteRun(plan.export_id, now_ns(), failed).catch(() => undefined);
    busy.delete(plan.export_id);
  }
}

class ExportRun {
  readonly #warehouse: Warehouse;
  readonly #plan: ExportPlan;
  readonly #destination: Destination;
  readonly #options: RunOptions;
  readonly #now_ns: () => bigint;
  readonly #staging: string;
  #copies: CopyInstance | undefined;
  #closing: Promise<void> | undefined;
  #report: ExportReport = { files: 0, rows: 0n, bytes: 0n };

  constructor(warehouse: Warehouse, plan: ExportPlan, destination: Destination, options: RunOptions, now_ns: () => bigint) {
    this.#warehouse = warehouse;
    this.#plan = plan;
    this.#destination = destination;
    this.#options = options;
    this.#now_ns = now_ns;
    this.#staging = join(warehouse.folder, 'exports', plan.export_id);
  }

  async run(): Promise<ExportReport> {
    await this.#publish(await this.#committed());
    await rm(this.#staging, { recursive: true, force: true }); // what a killed run had not committed
    await this.#warehouse.seal();
    if (this.#plan.query !== null) await this.#answer(this.#plan.query);
    // What a segment became is on its way while the next one is written.
    let publishing: Promise<void> = Promise.resolve();
    try {
      for (const kind of SEGMENT_KINDS) {
        const relations = relationsOf(kind, this.#plan.relations);
        if (relations.length === 0) continue;
        while (this.#options.stopping?.() !== true && (await this.#stageNext(kind, relations))) {
          await publishing;
          publishing = this.#publish(await this.#committed());
          publishing.catch(() => undefined); // it is told when the next segment is written
        }
      }
      await Promise.all([publishing, this.#closeCopies()]);
    } finally {
      await publishing.catch(() => undefined);
      await this.#closeCopies();
    }
    await removeEmpty(this.#staging);
    return this.#report;
  }

  /** Asked twice, both wait for the same end. */
  #closeCopies(): Promise<void> {
    this.#closing ??= this.#copies?.close() ?? Promise.resolve();
    return this.#closing;
  }

  /** Neighbours of one hour first become one segment: few files, and each holds rows of one segment alone. */
  #stageNext(kind: SegmentKind, relations: readonly string[]): Promise<boolean> {
    const { exports } = this.#warehouse;
    return this.#warehouse.withSealed(async (sealed, gather) => {
      const ordered = sealed.filter((segment) => segment.kind === kind).toSorted((a, b) => (a.to_ns < b.to_ns ? -1 : a.to_ns > b.to_ns ? 1 : 0));
      const due = (segment: Segment): boolean => segment.to_ns >= (this.#options.since_ns ?? 0n) && !exports.hasExported(this.#plan.export_id, segment);
      const start = ordered.findIndex(due);
      const [first, ...rest] = ordered.slice(start);
      if (start < 0 || first === undefined) return false;
      const end = rest.findIndex((next) => !due(next) || next.to_ns / HOUR_NS !== first.to_ns / HOUR_NS || exports.groupOf(next) !== exports.groupOf(first));
      const segment = await gather([first, ...(end < 0 ? rest : rest.slice(0, end))]);
      // What is written here before it goes must not take the room of batches: Parquet is smaller than the segment.
      await requireRoom(this.#warehouse.folder, segment.bytes);
      this.#copies ??= await CopyInstance.open(this.#warehouse.folder);
      const files = await this.#copies.withSegment(segment, (copies) => this.#write(copies, segment, relations));
      await exports.commitSegment(this.#plan.export_id, segment, files);
      return true;
    });
  }

  async #write(copies: readonly Copy[], segment: Segment, relations: readonly string[]): Promise<ExportFile[]> {
    const connection = await this.#warehouse.connect();
    try {
      const files: ExportFile[] = [];
      for (const relation of relations) {
        if ((segment.rows?.get(relation) ?? 0) === 0) continue;
        for (const file of await writeSegment(connection, copies, this.#staging, segment, relation)) {
          files.push({ export_id: this.#plan.export_id, state: 'staged', segment_uid: segment.uid, written_ns: this.#now_ns(), ...file });
        }
      }
      return files;
    } finally {
      connection.closeSync();
    }
  }

  /** A query's answer about the time since the last one, up to what is decided. */
  async #answer(query: string): Promise<void> {
    const { exports, segments } = this.#warehouse;
    const from_ns = await exports.queryTo(this.#plan.export_id);
    const to_ns = segments.reduce((latest, { kind, state, to_ns }) => (kind === 'derived' && state === 'sealed' && to_ns > latest ? to_ns : latest), from_ns);
    if (to_ns <= from_ns) return;
    if (from_ns > 0n) this.#requireHere(query, from_ns, to_ns);
    const files = await writeQuery(this.#options.queries ?? queryHere(this.#warehouse), this.#staging, query, { from_ns, to_ns });
    await exports.commitQuery(this.#plan.export_id, to_ns, files.map((file) => ({ ...file, export_id: this.#plan.export_id, state: 'staged', segment_uid: null, written_ns: this.#now_ns() })));
    await this.#publish(await this.#committed());
  }

  /** A file has no place to say that rows are missing in it. The first one is about all times, of which some may be elsewhere for good. */
  #requireHere(query: string, from_ns: bigint, to_ns: bigint): void {
    const { archive } = this.#warehouse;
    const away = archive.files({ tables: archive.tablesNamedIn(query), range: { from_ns: from_ns - HOUR_NS, to_ns } }).filter(({ is_here }) => !is_here);
    if (away.length === 0) return;
    throw new TracehouseError('export-away', `${away.length} exported files with rows of that time are elsewhere (${away[0]?.file.destination})`, { mend: 'export to a folder besides, or keep rows for longer than the query waits: --keep-for' });
  }

  /** What is not where it belongs yet. Asked for at once, so that no file goes whose successor is not among those that come. */
  async #committed(): Promise<{ staged: ExportFile[]; retracted: ExportFile[] }> {
    const files = await this.#warehouse.exports.files("export_id = $1 AND state IN ('staged', 'retracted') ORDER BY path", [this.#plan.export_id]);
    return { staged: files.filter(({ state }) => state === 'staged'), retracted: files.filter(({ state }) => state === 'retracted') };
  }

  /** Brings what is committed to its destination; done twice it changes nothing. */
  async #publish({ staged, retracted }: { readonly staged: readonly ExportFile[]; readonly retracted: readonly ExportFile[] }): Promise<void> {
    for (let from = 0; from < staged.length; from += FILES_AT_ONCE) {
      const files = staged.slice(from, from + FILES_AT_ONCE);
      const put = await Promise.allSettled(files.map(({ path }) => this.#destination.put(join(this.#staging, path), path)));
      const there = files.filter((_, at) => put[at]?.status === 'fulfilled');
      await this.#warehouse.exports.setState(there, 'done');
      for (const { path, rows, bytes } of there) {
        await rm(join(this.#staging, path));
        this.#report = { files: this.#report.files + 1, rows: this.#report.rows + rows, bytes: this.#report.bytes + bytes };
        this.#options.progress?.(this.#report);
      }
      const failed = put.find((one) => one.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    }
    // After their successors: for a moment a reader may meet both, never neither.
    for (const file of retracted) await this.#destination.remove(file.path);
    await this.#warehouse.exports.setState(retracted, 'superseded');
  }
}

async function removeEmpty(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) if (entry.isDirectory()) await removeEmpty(join(folder, entry.name));
  await rmdir(folder).catch(() => undefined);
}
