import type { DuckDBConnection } from '@duckdb/node-api';
import type { BatchHeader } from './batch.ts';

export interface RunState {
  readonly node: string;
  readonly boot_id: string;
  readonly run_id: bigint;
  readonly watermark_ns: bigint;
  /** Wall time of the last batch; after a restart, of the last batch's own clock. */
  readonly heard_ms: number;
  readonly final: boolean;
  readonly sequence: bigint;
}

export type RunHeader = Pick<BatchHeader, 'node' | 'boot_id' | 'run_id' | 'sequence' | 'watermark_ns'>;

/** Becomes a row of losses. */
export interface Missed {
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  readonly cause: 'not_running' | 'not_received';
}

/** How far each run has come. */
export class RunStates {
  readonly #runs = new Map<string, RunState>();

  note(header: Pick<BatchHeader, 'node' | 'boot_id' | 'run_id' | 'watermark_ns' | 'final' | 'sequence'>, heard_ms: number): void {
    const key = JSON.stringify([header.node, header.boot_id, String(header.run_id)]);
    const known = this.#runs.get(key);
    const { node, boot_id, run_id } = header;
    const max = (a: bigint, b: bigint | undefined): bigint => (b !== undefined && b > a ? b : a);
    this.#runs.set(key, {
      node, boot_id, run_id,
      watermark_ns: max(header.watermark_ns, known?.watermark_ns),
      heard_ms: Math.max(heard_ms, known?.heard_ms ?? 0),
      final: header.final || (known?.final ?? false),
      sequence: max(header.sequence, known?.sequence),
    });
  }

  /**
   * What the warehouse has not been told before this batch: between the end of its node's previous run and this run's start nobody recorded
   * (not_running); batches of the run that never came were dropped or lost on their way (not_received). `under_way`: batches before it that
   * will be there when it is.
   */
  missedBefore(header: RunHeader, under_way: readonly RunHeader[] = []): Missed[] {
    const isOwn = (run: RunHeader | RunState): boolean => run.node === header.node && run.boot_id === header.boot_id && run.run_id === header.run_id;
    const own = [...this.#runs.values(), ...under_way].filter(isOwn);
    const known = own.reduce((most, run) => (run.sequence > most ? run.sequence : most), 0n);
    const missed: Missed[] = [];
    let from_ns: bigint | undefined;
    if (known > 0n) from_ns = own.reduce((latest, run) => (run.watermark_ns > latest ? run.watermark_ns : latest), 0n);
    else {
      const before = [...this.#runs.values()].filter((run) => run.node === header.node && run.run_id < header.run_id);
      if (before.length > 0) {
        const last_ns = before.reduce((latest, run) => (run.watermark_ns > latest ? run.watermark_ns : latest), 0n);
        // Started before the other had ended: nothing was missed.
        if (last_ns < header.run_id) missed.push({ from_ns: last_ns, to_ns: header.run_id, cause: 'not_running' });
        from_ns = header.run_id;
      }
    }
    // A warehouse that is new to the node begins in the middle of a run.
    if (from_ns !== undefined && header.sequence > known + 1n) missed.push({ from_ns, to_ns: header.watermark_ns > from_ns ? header.watermark_ns : from_ns, cause: 'not_received' });
    return missed;
  }

  async load(connection: DuckDBConnection, batches: string): Promise<void> {
    const result = await connection.run(
      `SELECT node, boot_id, run_id, max(watermark_ns), max(utc_ns), bool_or(final), max(sequence) FROM ${batches} GROUP BY node, boot_id, run_id`,
    );
    for (const row of (await result.getRows()) as [string, string, bigint, bigint, bigint, boolean, bigint][]) {
      const [node, boot_id, run_id, watermark_ns, utc_ns, final, sequence] = row;
      this.note({ node, boot_id, run_id, watermark_ns, final, sequence }, Number(utc_ns / 1_000_000n));
    }
  }

  list(): RunState[] {
    return [...this.#runs.values()];
  }
}
