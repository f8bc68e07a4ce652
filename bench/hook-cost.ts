// What each optional hook costs a saturated server: the loader with and without it, in turn, its records thrown away.
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { loaderPath } from '../ingest/loader-process.ts';
import { go, lacks } from '../test/accuracy/shape-services.ts';
import { setStage, type Stage } from '../test/accuracy/stage.ts';
import { alternate, figure } from './figure.ts';
import type { Figure } from './figure.ts';
import { plainNginx, wrk } from './wrk.ts';

const VARIANTS = { turns: ['--no-turns'], wakes: ['--no-wakes'], tasks: ['--task-identity', 'off'] } as const;

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

/** With all hooks over with all but this one: what it costs alone. */
async function measure(server: string, stage: Stage, url: string, rounds: number, seconds: number): Promise<Figure[]> {
  await wrk(stage, url, 2); // warm
  const speed = async (): Promise<number> => (await wrk(stage, url, seconds)).per_second;
  const without = (args: readonly string[]) => (): Promise<number> => traced(stage, args, speed);
  const found = await alternate(rounds, { untraced: speed, all: without([]), turns: without(VARIANTS.turns), wakes: without(VARIANTS.wakes), tasks: without(VARIANTS.tasks) });
  const one = (variant: string, what: string, values: readonly number[], more: object = {}): Figure => figure({ figure: 'hook_cost', variant: `${server}, ${variant}`, unit: 'requests/s', values: found.all, reference: { what, values }, ...more });
  const goal = { of: 'ratio', at_least: 0.95 } as const;
  return [
    one('all hooks', 'untraced', found.untraced),
    one('turn counter', 'all hooks but this', found.turns, { goal }),
    one('wakes', 'all hooks but this', found.wakes, { goal }),
    one('task identity', 'all hooks but this', found.tasks, { goal }),
  ];
}

/** nginx alone; and a reverse proxy in Go before it, where Go is installed. */
export async function measureHookCost(rounds: number, seconds: number): Promise<Figure[]> {
  const costs: Figure[] = [];
  const nginx = await setStage((folder) => [plainNginx(folder, 8000)]);
  try {
    costs.push(...(await measure('nginx', nginx, 'http://127.0.0.1:8000/', rounds, seconds)));
  } finally {
    await nginx.stop();
  }
  if (lacks(['go']) !== undefined) return costs;
  const proxy = await setStage((folder) => [plainNginx(folder, 8001), ...go({ n: 'proxy' })]);
  try {
    costs.push(...(await measure('go proxy', proxy, 'http://127.0.0.1:8000/n/1', rounds, seconds)));
  } finally {
    await proxy.stop();
  }
  return costs;
}
