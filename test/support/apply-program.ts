// Applies batches as fast as it can, sealing and compacting all the while, and says which were applied: node apply-program.js FOLDER FIRST_SEQUENCE
import { writeSync } from 'node:fs';
import { Warehouse } from '../../ingest/warehouse.ts';
import { makeBatch } from './make-batch.ts';

/** Also known to the test: how many rows a batch brings. */
export const rowsOf = (sequence: number): number => (sequence * 37) % 900;

const [folder, first] = process.argv.slice(2);
if (folder !== undefined && first !== undefined) {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 30, retire_after_ms: 20, compaction: { small: 3, minutes: 3, hours: 72, idle_ms: 1 }, log: (line) => void writeSync(2, `${line}\n`) });
  writeSync(1, 'ready\n');
  let sequence = Number(first);
  // Two wait for each other, as in a warehouse that is behind.
  const applying = async (): Promise<never> => {
    for (;;) {
      const own = sequence++;
      const rows = Array.from({ length: rowsOf(own) }, (_, i) => ({ ts_ns: own * 1000 + i, mono_ns: i, socket_id: own, op: 'read', bytes: 1, stream_offset: i, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false, comm: `batch number ${own}` }));
      await warehouse.apply(makeBatch({ sequence: BigInt(own), watermark_ns: BigInt(own) }, { socket_events: rows }));
      writeSync(1, `${own}\n`);
    }
  };
  await Promise.all([applying(), applying()]);
}
