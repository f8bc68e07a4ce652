// What a collector puts on the network, as it is and packed.
import { gzipSync } from 'node:zlib';
import { decodeBatches } from '../ingest/arrow-format.ts';
import { figure, rounded } from './figure.ts';
import type { Figure } from './figure.ts';

/** Of the bodies that it sent. */
export function collectBytes(variant: string, bodies: readonly Uint8Array[]): Figure[] {
  let [events, batches] = [0, 0];
  for (const body of bodies) {
    for (const { tables } of decodeBatches(body)) {
      events += tables.socket_events.rows + tables.thread_events.rows;
      batches += 1;
    }
  }
  const plain = bodies.reduce((sum, body) => sum + body.length, 0) / events;
  const before = process.cpuUsage();
  const packed = bodies.reduce((sum, body) => sum + gzipSync(body, { level: 1 }).length, 0) / events;
  const { user, system } = process.cpuUsage(before);
  return [
    figure({
      figure: 'collect_bytes', variant: `${variant}, --compress gzip`, unit: 'bytes/event', values: [packed], reference: { what: 'not packed', values: [plain] },
      notes: { gzip_us_an_event: rounded((user + system) / events), events_a_batch: rounded(events / batches) },
    }),
  ];
}
