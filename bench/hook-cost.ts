// What each optional hook costs a saturated server: the loader with and without it, in turn, its records thrown away.
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { loaderPath } from '../ingest/loader-process.ts';
import { go, lacks } from '../test/accuracy/shape-services.ts';
import { setStage, type Stage } from '../test/accuracy/stage.ts';
import { plainNginx, wrk } from './wrk.ts';

export interface HookCost {
  readonly server: string;
  readonly rounds: number;
  readonly seconds: number;
  readonly untraced_requests_per_second: number;
  /** Traced / untraced requests a second: median of the rounds, and their range. */
  readonly all: Ratio;
  /** With all hooks / with all but this one: what it costs alone. */
  readonly turns: Ratio;
  readonly wakes: Ratio;
  readonly tasks: Ratio;
}

interface Ratio {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

const VARIANTS = { all: [], turns: ['--no-turns'], wakes: ['--no-wakes'], tasks: ['--task-identity', 'off'] } as const;

function ratio(values: readonly number[]): Ratio {
  const sorted = values.toSorted((a, b) => a - b).map((value) => Number(value.toFixed(3)));
  return { median: sorted[sorted.length >> 1] ?? 0, least: sorted[0] ?? 0, most: sorted.at(-1) ?? 0 };
}

/** Runs while the loader collects. */
async function traced<T>(stage: Stage, args: readonly string[], work: () => Promise<T>): Promise<T> {
  const child = spawn(loaderPath(), ['--scope', `netns:${stage.netns.name}`, ...args], { stdio: ['pipe', openSync('/dev/null', 'w'), 'inherit'] });
  const exit = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  try {
    await new Promise((resolve) => setTimeout(resolve, 1000)); // attached by then
    return await work();
  } finally {
    child.stdin?.end();
    await exit;
  }
}

async function measure(server: string, stage: Stage, url: string, rounds: number, seconds: number): Promise<HookCost> {
  const speeds: Record<keyof typeof VARIANTS | 'untraced', number[]> = { untraced: [], all: [], turns: [], wakes: [], tasks: [] };
  await wrk(stage, url, 2); // warm
  for (let round = 0; round < rounds; round += 1) {
    speeds.untraced.push((await wrk(stage, url, seconds)).per_second);
    for (const [name, args] of Object.entries(VARIANTS)) {
      const { per_second } = await traced(stage, args, () => wrk(stage, url, seconds));
      speeds[name as keyof typeof VARIANTS].push(per_second);
    }
  }
  const over = (one: readonly number[], other: readonly number[]): Ratio => ratio(one.map((speed, round) => speed / (other[round] as number)));
  return {
    server, rounds, seconds,
    untraced_requests_per_second: Math.round(speeds.untraced.reduce((sum, speed) => sum + speed, 0) / rounds),
    all: over(speeds.all, speeds.untraced),
    turns: over(speeds.all, speeds.turns),
    wakes: over(speeds.all, speeds.wakes),
    tasks: over(speeds.all, speeds.tasks),
  };
}

/** nginx alone; and a reverse proxy in Go before it, where Go is installed. */
export async function measureHookCost(rounds: number, seconds: number): Promise<HookCost[]> {
  const costs: HookCost[] = [];
  const nginx = await setStage((folder) => [plainNginx(folder, 8000)]);
  try {
    costs.push(await measure('nginx', nginx, 'http://127.0.0.1:8000/', rounds, seconds));
  } finally {
    await nginx.stop();
  }
  if (lacks(['go']) !== undefined) return costs;
  const proxy = await setStage((folder) => [plainNginx(folder, 8001), ...go({ n: 'proxy' })]);
  try {
    costs.push(await measure('go proxy', proxy, 'http://127.0.0.1:8000/n/1', rounds, seconds));
  } finally {
    await proxy.stop();
  }
  return costs;
}
