import type { TableData } from './batch.ts';
import type { RecordValues } from './record-fields.ts';
import { nameService } from './service-name.ts';
import { TableBuilder } from './table-builder.ts';

/** Fills the table `processes`; its times become UTC when the batch is cut. */
export class ProcessTable {
  readonly table = new TableBuilder('processes');
  #waiting: RecordValues<'process'>[] = [];

  get rows(): number {
    return this.#waiting.length;
  }

  add(process: RecordValues<'process'>): void {
    this.#waiting.push(process);
  }

  /** delta: UTC minus CLOCK_MONOTONIC; now: CLOCK_MONOTONIC of the rows. */
  take(delta: bigint, now: bigint): TableData {
    for (const process of this.#waiting) {
      const text = (value: string): string | null => (value === '' ? null : value);
      this.table.addRow({
        ts_ns: now + delta,
        process_id: process.process_id,
        pid: process.pid,
        ns_pid: process.ns_pid,
        ppid: process.ppid,
        started_ns: BigInt.asIntN(64, process.started_mono_ns) + delta,
        ended_ns: process.ended_mono_ns === 0n ? null : process.ended_mono_ns + delta,
        exe: text(process.exe),
        cmdline: text(process.cmdline),
        container_id: text(process.container_id),
        cgroup: text(process.cgroup_path),
        netns: process.netns === 0 ? null : process.netns,
        ...nameService(process),
      });
    }
    this.#waiting = [];
    return this.table.take();
  }
}
