// What the kernel says of busy services, as the loader writes it: bytes to feed a pipeline with, again and again.
import { spawn } from 'node:child_process';
import { closeSync, openSync, statSync } from 'node:fs';
import { loaderArguments, loaderPath } from '../ingest/loader-process.ts';
import { sendLoad } from '../test/accuracy/load.ts';
import { asyncio, nginx, node, pools, threads } from '../test/accuracy/shape-services.ts';
import { SHAPES } from '../test/accuracy/shapes.ts';
import type { Shape } from '../test/accuracy/shapes.ts';
import { setStage } from '../test/accuracy/stage.ts';
import type { Stage } from '../test/accuracy/stage.ts';

const ATTACH_MS = 30_000;
/** Clients come and go, as many as a small web site has. */
const IN_FLIGHT = 16;
const REQUESTS_AT_A_TIME = 500;

/** Writes the frames of a stage while `work` runs; the loader's default settings. */
async function captureWhile<T>(out: string, stage: Stage, work: () => Promise<T>): Promise<T> {
  const file = openSync(out, 'w');
  const settings = { node: 'bench', scopes: [`netns:${stage.netns.name}`], exclude_pids: [], ring_bytes: 128 * 2 ** 20, payload_bytes: 256, wakes: true, turns: true, stacks: false, task_identity: true };
  const loader = spawn(loaderPath(), loaderArguments(settings), { stdio: ['pipe', file, 'inherit'] });
  closeSync(file);
  const exit = new Promise<void>((resolve) => loader.once('exit', () => resolve()));
  try {
    // Its first frame says that every hook is attached.
    for (const until = Date.now() + ATTACH_MS; statSync(out).size === 0; await new Promise((resolve) => setTimeout(resolve, 50))) {
      if (Date.now() > until || loader.exitCode !== null) throw new Error('the loader did not attach');
    }
    return await work();
  } finally {
    loader.stdin?.end();
    await exit;
  }
}

/**
 * So many seconds of nginx before Node.js before three Python services (a pool of connections, an event loop, worker threads);
 * every request and every call has a path of its own, half of the clients keep their connections.
 */
export async function captureServices(out: string, seconds: number): Promise<{ requests: number }> {
  const hop = (specs: ReturnType<typeof node>, name: string): (typeof specs)[number] => specs.find((spec) => spec.name === name) as (typeof specs)[number];
  const stage = await setStage((folder) => [nginx(folder), hop(node('eager'), 'a'), hop(threads('pool'), 'b'), hop(asyncio(), 'c'), hop(pools('worker'), 'd')]);
  try {
    return await captureWhile(out, stage, async () => {
      let requests = 0;
      for (const until = Date.now() + seconds * 1000; Date.now() < until; requests += REQUESTS_AT_A_TIME) {
        const shape: Shape = { ...(SHAPES['nginx-proxy'] as Shape), keep: (requests / REQUESTS_AT_A_TIME) % 2 === 0 };
        await sendLoad(shape, stage.netns, stage.folder, REQUESTS_AT_A_TIME, IN_FLIGHT, 'same');
      }
      return { requests };
    });
  } finally {
    await stage.stop();
  }
}
