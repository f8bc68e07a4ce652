// Applies batches, exports them, and goes on until it is killed: node export-program.js FOLDER DESTINATION FIRST_SEQUENCE
import { writeSync } from 'node:fs';
import { Warehouse } from '../../ingest/warehouse.ts';
import { ExportScheduler } from '../../queries/export/scheduler.ts';
import { makeBatch } from './make-batch.ts';

const [folder, destination, first] = process.argv.slice(2);
if (folder !== undefined && destination !== undefined && first !== undefined) {
  const warehouse = await Warehouse.open({ folder, seal_every_ms: 0, retire_after_ms: 5, compaction: { small: 4, minutes: 4, hours: 72, idle_ms: 1 } });
  const scheduler = new ExportScheduler(warehouse);
  const { export_id } = await scheduler.add({ destination, relations: ['socket_events', 'batches'] });
  writeSync(1, 'ready\n');
  for (let sequence = Number(first); ; sequence++) {
    const rows = Array.from({ length: 20 }, (_, i) => ({ ts_ns: sequence * 1000 + i, mono_ns: i, socket_id: sequence, op: 'read', bytes: 1, stream_offset: i, other_offset: 0, layer: 'socket', flags: 0, payload_truncated: false }));
    await warehouse.apply(makeBatch({ sequence: BigInt(sequence), watermark_ns: BigInt(sequence) }, { socket_events: rows }));
    if (sequence % 2 === 0) await warehouse.seal();
    if (sequence % 2 === 1) await scheduler.run(export_id);
    if (sequence % 5 === 0) await warehouse.compact();
    writeSync(1, `${sequence}\n`);
  }
}
