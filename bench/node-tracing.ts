// tracehouse as it runs on a node, started and stopped around a load: `collect` with a sink for its warehouse, and `up`.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeBatches } from '../ingest/arrow-format.ts';
import { packageRoot } from '../schema/package-root.ts';
import { Tracer } from '../test/accuracy/tracer.ts';
import type { Stage } from '../test/accuracy/stage.ts';
import { childNamed } from './process-memory.ts';
import { takenBySink } from './sink.ts';
import { CAUSES, exited, lostIn, said } from './throughput.ts';

export interface Seen {
  /** Rows of socket_events and thread_events. */
  readonly events: number;
  readonly socket_events: number;
  readonly lost: number;
  /** That went to the warehouse, as HTTP bodies; 0: there is none elsewhere. */
  readonly bytes_sent: number;
}

export interface Tracing {
  readonly collector: number;
  readonly loader: number | undefined;
  /** Ends it; what it saw since it started, and sent. */
  stop(): Promise<Seen & { readonly bodies: readonly Uint8Array[] }>;
}

/** A warehouse elsewhere costs this node nothing: the sink stands for it, and keeps what it gets. */
export async function startCollect(stage: Stage, scopes: readonly string[], sink_port: number): Promise<Tracing> {
  const spool = mkdtempSync(join(tmpdir(), 'tracehouse-spool-'));
  const [command = '', ...args] = stage.netns.inside(['setpriv', '--pdeathsig', 'TERM', '--', join(packageRoot(), 'bin', 'tracehouse'), 'collect', '--to', `http://127.0.0.1:${sink_port}`, '--spool', spool, ...scopes.flatMap((scope) => ['--scope', scope])]);
  // A session of its own, as a service manager gives it.
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
  try {
    await said(child, 'stdout', /^collecting/);
  } catch (error) {
    rmSync(spool, { recursive: true, force: true });
    throw error;
  }
  const collector = child.pid as number;
  return {
    collector,
    loader: childNamed(collector, 'tracehouse-load'),
    async stop() {
      child.kill('SIGTERM');
      await exited(child);
      const left = readdirSync(spool).filter((name) => name.endsWith('.arrows')).length;
      rmSync(spool, { recursive: true, force: true });
      if (left > 0) throw new Error(`collect ended with ${left} batches in its spool`);
      let [events, socket_events, lost, bytes_sent] = [0, 0, 0, 0];
      const bodies = await takenBySink(stage, sink_port);
      for (const body of bodies) {
        bytes_sent += body.length;
        for (const batch of decodeBatches(body)) {
          socket_events += batch.tables.socket_events.rows;
          events += batch.tables.socket_events.rows + batch.tables.thread_events.rows;
          lost += lostIn(batch);
        }
      }
      return { events, socket_events, lost, bytes_sent, bodies };
    },
  };
}

/** Collector, warehouse, correlation and API in one, on the cores that serve. */
export async function startUp(scopes: readonly string[]): Promise<Tracing> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const tracer = await Tracer.start({ data: folder, scopes });
  const count = async (): Promise<Seen> => {
    const causes = [...CAUSES].map((cause) => `'${cause}'`).join(', ');
    const [row] = await tracer.sql(`SELECT (SELECT count(*) FROM socket_events) AS socket_events, (SELECT count(*) FROM thread_events) AS thread_events, (SELECT coalesce(sum(events_lost), 0)::BIGINT FROM losses WHERE cause IN (${causes})) AS lost`);
    return { events: Number(row?.['socket_events']) + Number(row?.['thread_events']), socket_events: Number(row?.['socket_events']), lost: Number(row?.['lost']), bytes_sent: 0 };
  };
  return {
    collector: tracer.pid,
    loader: childNamed(tracer.pid, 'tracehouse-load'),
    async stop() {
      try {
        // Until nothing more arrives: batches may wait.
        let [seen, before] = [await count(), -1];
        while (seen.events !== before) {
          before = seen.events;
          await new Promise((resolve) => setTimeout(resolve, 1000));
          seen = await count();
        }
        return { ...seen, bodies: [] };
      } finally {
        await tracer.stop();
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}
