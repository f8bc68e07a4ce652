// A stored fleet that outlives the benchmark: what takes longer to build than to measure is built once, and may be measured another day.
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { generatedBatches } from './generated-recording.ts';
import type { Generated } from './generate/generate.ts';

/** Large cycles are cheap ones. They need more memory than a server has, which is nothing that is measured here. */
const BUILD = { memory_limit: '4GB', threads: 2, events_a_cycle: 1_000_000 } as const;
/** Stored at once: the next one is generated meanwhile. */
const BATCHES_AT_ONCE = 3;
const PROGRESS_EVENTS = 5e6;

/** Written last: without it the folder is half of one. */
const marker = (folder: string): string => join(folder, 'built.json');

/** What the folder was built from: as many events or more of the default mix, correlated. Errors where it holds anything else. */
export async function keptHistory(folder: string, events: number, say: (line: string) => void): Promise<Generated> {
  if (existsSync(marker(folder))) {
    const { asked, made } = JSON.parse(readFileSync(marker(folder), 'utf8')) as { asked: number; made: Generated };
    if (asked !== events) throw new Error(`--folder ${folder}: was built for ${asked} events, not ${events}: give another folder, or --millions ${asked / 1e6}`);
    return made;
  }
  mkdirSync(folder, { recursive: true });
  if (readdirSync(folder).length > 0) throw new Error(`--folder ${folder}: is not empty, and no benchmark has built it to the end: give another folder, or empty it`);
  const made = await build(folder, events, say);
  writeFileSync(marker(folder), JSON.stringify({ asked: events, made }));
  return made;
}

async function build(folder: string, events: number, say: (line: string) => void): Promise<Generated> {
  const warehouse = await Warehouse.open({ folder, memory_limit: BUILD.memory_limit, threads: BUILD.threads });
  try {
    const correlator = new Correlator(warehouse, { most_rows: Infinity, silent_ms: Infinity });
    const batches = generatedBatches(events);
    const landing: Promise<unknown>[] = [];
    let [stored, correlated] = [0, 0];
    let next = batches.next();
    for (; next.done !== true; next = batches.next()) {
      const landed = warehouse.apply(next.value);
      landed.catch(() => undefined); // told where it is awaited
      landing.push(landed);
      if (landing.length === BATCHES_AT_ONCE) await landing.shift();
      const rows = next.value.tables.socket_events.rows;
      if (Math.floor((stored + rows) / PROGRESS_EVENTS) > Math.floor(stored / PROGRESS_EVENTS)) say(`${stored} of ${events} events stored`);
      stored += rows;
      if (stored - correlated < BUILD.events_a_cycle) continue;
      await Promise.all(landing.splice(0));
      await correlator.cycle();
      correlated = stored;
    }
    await Promise.all(landing);
    await correlator.finish();
    return next.value;
  } finally {
    await warehouse.close();
  }
}
