// Services are weighed by threads of their own: it is pure computing, some tens of milliseconds each, while which the event loop has others to serve.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Piscina } from 'piscina';
import { packageRoot } from '../../schema/package-root.ts';
import type { WeighTask, Weighed } from './weigh-worker.ts';

/** Each takes some 20 MiB. */
const MOST_THREADS = Math.min(2, availableParallelism());
/** Live cycles follow each other faster than that. */
const IDLE_MS = 30_000;

let threads: Piscina<WeighTask, Weighed | null> | undefined;

function start(): Piscina<WeighTask, Weighed | null> {
  // What runs is always the compiled one: Node.js 20 cannot run the other.
  const started = new Piscina<WeighTask, Weighed | null>({ filename: join(packageRoot(), 'dist', 'queries', 'timing', 'weigh-worker.js'), minThreads: 0, maxThreads: MOST_THREADS, idleTimeout: IDLE_MS, recordTiming: false });
  // A thread that cannot even start leaves its task waiting: whoever waits is told, and the next one tries again.
  started.on('error', () => {
    if (threads === started) threads = undefined;
    void started.destroy();
  });
  return started;
}

/** Begins as soon as a thread is free; a process ends without waiting for idle ones. */
export function weighApart(task: WeighTask): Promise<Weighed | null> {
  threads ??= start();
  return threads.run(task);
}
