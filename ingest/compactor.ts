// Where files become one: in an instance of DuckDB beside the warehouse's (side-instance.ts), with little memory and one thread that gets
// what storing, correlation and queries leave of the processors.
import type { DuckDBResult } from '@duckdb/node-api';
import { isFatal, isOutOfMemory, isOutOfMemoryAtCheckpoint } from './duckdb-errors.ts';
import { sqlName, sqlText } from './duckdb-instance.ts';
import { LASTING_LAYOUT, attachNewText } from './segment-catalog.ts';
import type { Segment } from './segment-catalog.ts';
import { CompactionInterrupted, copySegments } from './segment-copy.ts';
import type { SegmentKind } from './segment-names.ts';
import type { FileMaker } from './segment-rewrite.ts';
import type { SegmentTables } from './segment-tables.ts';
import { SideInstance } from './side-instance.ts';
import type { SideConnection } from './side-instance.ts';

/** A piece of a copy is sorted in it, and what is more is spilled, but for a row group that is being filled and what is joined. Next: where that does not fit. */
const MEMORY = ['160MB', '256MB', '512MB'] as const;
const TEMP = '2GB';

/** Of its thread: where processors are short, it gets a tenth of what others get. */
const BEHIND_OTHERS = 10;

/** DuckDB forgets that it was interrupted where a statement is only just being planned: it is told again. */
const INTERRUPT_EVERY_MS = 50;
/** What leaves things as they were, interrupted or not. */
const TIDYING = /^(ROLLBACK|DETACH|USE)\b/;

/** What copies have needed so far. */
export class CopyMemory {
  #at = 0;

  get limit(): string {
    return MEMORY[this.#at] as string;
  }

  /** After so much was too little; whether there is more. */
  growBeyond(limit: string): boolean {
    if (limit !== this.limit) return true; // another copy has met that
    if (this.#at === MEMORY.length - 1) return false;
    this.#at += 1;
    return true;
  }
}

export interface CompactorOptions {
  /** Of the warehouse. */
  readonly folder: string;
  readonly tables: SegmentTables;
  readonly memory: CopyMemory;
  /** Whether somebody waits for it: then it does not give way. */
  readonly awaited?: boolean;
}

export interface CopyPace {
  /** Pause after each statement, as a share of the time it took. */
  rest(): number;
  /** Waited for after each part. */
  between?(): Promise<void>;
}

export class Compactor {
  readonly #side: SideInstance;
  readonly #connection: SideConnection;
  readonly #tables: SegmentTables;
  readonly #limit: string;
  /** What DuckDB said here: of the warehouse's own instance it says nothing. */
  readonly #errors = new WeakSet<object>();
  #over = false;

  private constructor(side: SideInstance, connection: SideConnection, tables: SegmentTables, limit: string) {
    this.#limit = limit;
    this.#side = side;
    this.#connection = connection;
    this.#tables = tables;
  }

  static async open({ folder, tables, memory, awaited = false }: CompactorOptions): Promise<Compactor> {
    const { limit } = memory;
    const side = await SideInstance.open({ folder, name: 'compaction', memory_limit: limit, temp_limit: TEMP, threads: 1 });
    try {
      if (!awaited) side.yieldBy(BEHIND_OTHERS);
      const connection = await side.connect();
      await connection.run('PRAGMA disable_checkpoint_on_shutdown'); // nor on DETACH: what is to stay is checkpointed before
      await tables.createTemplates(connection);
      return new Compactor(side, connection, tables, limit);
    } catch (error) {
      await side.close().catch(() => undefined);
      throw error;
    }
  }

  /** Does work with a compactor, and again with one that has more memory as long as that was what it lacked. */
  static async with<T>(options: CompactorOptions, work: (compactor: Compactor) => Promise<T>): Promise<T> {
    for (;;) {
      const compactor = await Compactor.open(options);
      try {
        return await work(compactor);
      } catch (error) {
        if (!(error instanceof Error) || !compactor.hasFailed(error)) throw error;
        if ((isOutOfMemory(error) || isOutOfMemoryAtCheckpoint(error)) && options.memory.growBeyond(compactor.#limit)) continue;
        // This instance is closed; the warehouse's own goes on.
        throw isFatal(error) ? new Error(`in an instance of its own: ${error.message}`, { cause: error }) : error;
      } finally {
        await compactor.close().catch(() => undefined); // what was done is done
      }
    }
  }

  /** Whether it was this that failed, and nothing else that was done meanwhile. */
  hasFailed(error: unknown): boolean {
    return error instanceof CompactionInterrupted || this.#errors.has(error as object);
  }

  get maker(): FileMaker {
    return {
      instance: this,
      connection: { run: (sql) => this.#run(sql) },
      create: async (path, kind, { alias }) => {
        await this.#run(attachNewText(path, alias, LASTING_LAYOUT));
        await this.#tables.create({ run: (sql) => this.#run(sql) }, kind, alias);
      },
      detach: async (alias) => void (await this.#run(`DETACH ${sqlName(alias)}`)),
    };
  }

  async #run(sql: string): Promise<DuckDBResult> {
    if (this.#over && !TIDYING.test(sql)) throw new CompactionInterrupted('something more urgent came');
    const again = setInterval(() => this.#over && !TIDYING.test(sql) && this.#connection.interrupt(), INTERRUPT_EVERY_MS);
    try {
      return await this.#connection.run(sql);
    } catch (error) {
      this.#errors.add(error as object);
      throw error;
    } finally {
      clearInterval(again);
    }
  }

  /** Rows of the segments into the database alias. */
  async copy(kind: SegmentKind, segments: readonly Segment[], alias: string, { rest, between }: CopyPace): Promise<void> {
    const inputs = segments.map((segment) => ({ ...segment })); // the warehouse may attach them anew meanwhile, as something else
    const attach = ({ path, alias: own }: Segment): Promise<unknown> => this.#run(`ATTACH ${sqlText(path)} AS ${sqlName(own)} (READ_ONLY)`);
    const detach = ({ alias: own }: Segment): Promise<unknown> => this.#run(`DETACH ${sqlName(own)}`);
    const attached: Segment[] = [];
    try {
      for (const input of inputs) {
        await attach(input);
        attached.push(input);
      }
      await copySegments({ run: (sql) => this.#run(sql) }, this.#tables.of(kind), inputs, alias, {
        rows_together: LASTING_LAYOUT.row_group,
        rest,
        interrupted: () => this.#over,
        after: async (part) => {
          // What DuckDB has learnt of their row groups stays in memory as long as they are attached.
          for (const input of part) {
            await detach(input);
            await attach(input);
          }
          await between?.();
        },
      });
    } finally {
      // Interrupted, it is closed next, and whoever interrupted it waits.
      if (!this.#over) for (const input of attached) await detach(input).catch(() => undefined);
    }
  }

  get interrupted(): boolean {
    return this.#over;
  }

  /** What it is doing fails, and so does all that it is asked from now on, but for what leaves no trace of that. */
  interrupt(): void {
    if (this.#over) return; // what is left is tidying
    this.#over = true;
    this.#connection.interrupt();
  }

  close(): Promise<void> {
    return this.#side.close();
  }
}
