// What the kernel says of a busy server, as the loader writes it: bytes to feed a pipeline with, again and again.
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { loaderArguments, loaderPath } from '../ingest/loader-process.ts';
import { packageRoot } from '../schema/package-root.ts';
import { setStage } from '../test/accuracy/stage.ts';
import { plainNginx, wrk } from './wrk.ts';

/** Writes the frames of so many seconds of nginx and wrk, both ends, no two paths equal; the loader's default settings. */
export async function captureFrames(out: string, seconds: number): Promise<{ requests: number }> {
  const stage = await setStage((folder) => [plainNginx(folder, 8000)]);
  try {
    const file = openSync(out, 'w');
    const settings = { node: 'bench', scopes: [`netns:${stage.netns.name}`], exclude_pids: [], ring_bytes: 128 * 2 ** 20, payload_bytes: 256, wakes: true, turns: true, stacks: false, task_identity: true };
    const loader = spawn(loaderPath(), loaderArguments(settings), { stdio: ['pipe', file, 'inherit'] });
    closeSync(file);
    const exit = new Promise<void>((resolve) => loader.once('exit', () => resolve()));
    await new Promise((resolve) => setTimeout(resolve, 1500)); // attached by then
    const { requests } = await wrk(stage, 'http://127.0.0.1:8000/', seconds, join(packageRoot(), 'bench', 'distinct-paths.lua'));
    loader.stdin?.end();
    await exit;
    return { requests };
  } finally {
    await stage.stop();
  }
}
