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

  /** With the first batch of a run: from where its node's previous run was last heard of to this run's start; else undefined. */
  unwatchedBefore(header: Pick<BatchHeader, 'node' | 'run_id' | 'sequence'>): { from_ns: bigint; to_ns: bigint } | undefined {
    if (header.sequence !== 1n) return undefined;
    let from_ns: bigint | undefined;
    for (const run of this.#runs.values()) {
      if (run.node === header.node && run.run_id < header.run_id && (from_ns === undefined || run.watermark_ns > from_ns)) from_ns = run.watermark_ns;
    }
    // Started before the other had ended: nothing was missed.
    return from_ns === undefined || from_ns >= header.run_id ? undefined : { from_ns, to_ns: header.run_id };
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
