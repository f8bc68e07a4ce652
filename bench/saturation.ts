// nginx at saturation under wrk: what tracing costs, and whether every event is seen or counted as lost.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setStage } from '../test/accuracy/stage.ts';
import { Tracer } from '../test/accuracy/tracer.ts';
import { plainNginx, wrk } from './wrk.ts';

export interface SaturationFigures {
  readonly seconds: number;
  readonly untraced_requests_per_second: number;
  readonly traced_requests_per_second: number;
  /** traced / untraced, in the same run. */
  readonly throughput_ratio: number;
  /** Each request is a write and a read at either end. */
  readonly events_expected: number;
  readonly events_seen: number;
  readonly events_lost: number;
  /** (seen + lost) / expected. */
  readonly accounted_ratio: number;
}

const PORT = 8000;
const URL = `http://127.0.0.1:${PORT}/`;

export async function measureSaturation(seconds: number): Promise<SaturationFigures> {
  const data = mkdtempSync(join(tmpdir(), 'tracehouse-bench-'));
  const stage = await setStage((folder) => [plainNginx(folder, PORT)]);
  let tracer: Tracer | undefined;
  try {
    await wrk(stage, URL, 2); // warm
    const untraced = await wrk(stage, URL, seconds);
    tracer = await Tracer.start({ data, scopes: [`netns:${stage.netns.name}`] });
    const traced = await wrk(stage, URL, seconds);
    const expected = 4 * traced.requests;
    const count = async (): Promise<{ seen: number; lost: number }> => {
      const [row] = (await tracer?.sql(`select (select count(*) from socket_events where op in ('read', 'write') and bytes > 0) as seen,
        (select coalesce(sum(events_lost), 0)::bigint from losses where cause in ('ring_full', 'connection_shed', 'hook_missed')) as lost`)) ?? [];
      return { seen: Number(row?.['seen']), lost: Number(row?.['lost']) };
    };
    // Until nothing more arrives: batches may wait.
    let [found, before] = [await count(), -1];
    while (found.seen !== before) {
      before = found.seen;
      await new Promise((resolve) => setTimeout(resolve, 3000));
      found = await count();
    }
    return {
      seconds,
      untraced_requests_per_second: Math.round(untraced.per_second),
      traced_requests_per_second: Math.round(traced.per_second),
      throughput_ratio: Number((traced.per_second / untraced.per_second).toFixed(3)),
      events_expected: expected,
      events_seen: found.seen,
      events_lost: found.lost,
      accounted_ratio: Number(((found.seen + found.lost) / expected).toFixed(4)),
    };
  } finally {
    await tracer?.stop();
    await stage.stop();
    rmSync(data, { recursive: true, force: true });
  }
}
