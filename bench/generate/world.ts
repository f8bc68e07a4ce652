// What every part of the simulation shares.
import type { App } from './apps.ts';
import { EventHeap } from './event-heap.ts';
import { HttpText } from './http-text.ts';
import { Job } from './job.ts';
import type { Random } from './random.ts';
import type { TruthSink } from './truth.ts';

export class World {
  readonly heap = new EventHeap();
  readonly random: Random;
  readonly text: HttpText;
  readonly truth: TruthSink | null;
  /** Of these requests. */
  readonly apps: App[] = [];
  requests = 0;
  calls = 0;
  /** Calls whose thread held no request, another one, or several: what the calling thread held does not tell whose they are. */
  ambiguous_calls = 0;
  /** No new requests. */
  stopping = false;
  #spare: Job[] = [];

  constructor(random: Random, truth: TruthSink | null) {
    this.random = random;
    this.text = new HttpText(random);
    this.truth = truth;
  }

  job(): Job {
    return this.#spare.pop() ?? new Job();
  }

  release(job: Job): void {
    job.connection = null;
    job.thread = job.worker = null;
    job.step = job.open = job.task = job.failed = 0;
    this.#spare.push(job);
  }
}
