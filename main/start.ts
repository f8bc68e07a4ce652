// `npm start`: a newcomer's first minute. Live where eBPF is permitted, else the recording that ships with the package.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { getTrace, listTraces } from '../api/cli/http-client.ts';
import { renderTraceTable } from '../api/cli/trace-table.ts';
import { renderWaterfall } from '../api/cli/waterfall.ts';
import { readRecording } from '../ingest/recording.ts';
import { TracehouseError } from '../schema/errors.ts';
import { packageRoot } from '../schema/package-root.ts';
import { ensureDataFolder } from './privileges.ts';
import { Server } from './server.ts';
import { SETTINGS } from './settings.ts';
import { sleep, stopSignal } from './signals.ts';
import { width } from './traces.ts';
import { startUp, type Running } from './up.ts';

export interface StartOptions {
  readonly data: string;
  readonly listen: string;
  readonly seconds?: number;
}

const REFRESH_MS = 5000;
const log = (line: string): void => console.error(`tracehouse: ${line}`);

function demoRecording(): string {
  return join(packageRoot(), 'recordings', 'demo.arrow');
}

async function replayDemo(options: StartOptions, why: string): Promise<Running> {
  console.log(`eBPF is not to be had here: ${why}`);
  console.log('Replaying the recording of the demo that ships with tracehouse, through the same pipeline.\n');
  if (!existsSync(demoRecording())) throw new TracehouseError('recording', `the recording ${demoRecording()} is missing`, { mend: 'reinstall tracehouse' });
  ensureDataFolder(options.data);
  const server = await Server.open({ folder: options.data, listen: options.listen, memory_limit: SETTINGS.memory_limit.fallback, log });
  for await (const batch of readRecording(demoRecording())) server.submit(batch);
  return { server, ended: server.broken, stop: () => server.close() };
}

async function startLive(options: StartOptions): Promise<Running> {
  return startUp({
    data: options.data,
    listen: options.listen,
    memoryLimit: SETTINGS.memory_limit.fallback,
    node: SETTINGS.node.fallback,
    payload: SETTINGS.payload.fallback,
    ring: 32 * 2 ** 20,
    demo: true,
  });
}

/** Prints what is new every few seconds, and one whole trace as soon as there is one. */
async function show(url: string, until: Promise<unknown>): Promise<void> {
  let stopped = false;
  void until.then(() => (stopped = true));
  let shown_waterfall = false;
  let last_id = '';
  while (!stopped) {
    const { traces } = await listTraces({ url }, { limit: 12 });
    const newest = traces[0];
    if (newest !== undefined && newest.trace_id !== last_id) {
      last_id = newest.trace_id;
      console.log(`${renderTraceTable(traces, width())}\n`);
      const widest = traces.toSorted((a, b) => b.span_count - a.span_count)[0];
      if (!shown_waterfall && widest !== undefined && widest.span_count > 4) {
        shown_waterfall = true;
        console.log(`${renderWaterfall(await getTrace({ url }, widest.trace_id), width())}\n`);
        console.log(`  page   ${url}/docs`);
        console.log(`  SQL    npx tracehouse sql --url ${url} "select service_name, count(*), avg(duration_ns) / 1e6 as ms from spans group by 1 order by 2 desc"`);
        console.log(`  trace  npx tracehouse trace --url ${url} ${widest.trace_id}\n`);
      }
    }
    await Promise.race([until, sleep(shown_waterfall ? REFRESH_MS : 1000)]);
  }
}

export async function start(options: StartOptions): Promise<void> {
  const signal = stopSignal();
  let running: Running;
  if (process.platform !== 'linux') running = await replayDemo(options, `this is ${process.platform}, not Linux`);
  else if (process.getuid?.() !== 0) running = await replayDemo(options, 'this is not root (sudo npm start)');
  else {
    try {
      running = await startLive(options);
    } catch (error) {
      if (!(error instanceof TracehouseError) || !['collector', 'loader-missing', 'netns', 'demo'].includes(error.code)) throw error;
      running = await replayDemo(options, error.message);
    }
  }
  console.log(`ready ${running.server.url}\n`);
  const until = Promise.race([signal, running.ended, ...(options.seconds === undefined ? [] : [sleep(options.seconds * 1000)])]);
  await show(running.server.url, until);
  await running.stop();
  const early = await until;
  if (early instanceof Error) throw early;
}
