// One request at one service, from its reading to its answer.
import type { Connection } from './connection.ts';
import type { SimulatedThread } from './simulated-process.ts';

export class Job {
  connection: Connection | null = null;
  /** Of the whole request, over all services: a number and who asked. */
  number = 0;
  app = 0;
  /** The server span's. */
  span_low = 0;
  span_high = 0;
  step = 0;
  /** Calls of the step at hand that are not answered. */
  open = 0;
  thread: SimulatedThread | null = null;
  worker: SimulatedThread | null = null;
  /** A goroutine, or whatever else the program counts. */
  task = 0;
  /** Depth of what may still go wrong: an answer that failed is passed on. */
  failed = 0;
}
