// How long after its end a trace can be read, by looking for the newest one again and again: as REST answers, as a user asks.
import { quantile } from './figure.ts';

const LOOK_EVERY_MS = 200;
/** Of a long delay: each look costs what is measured some of its processors. */
const LOOK_SHARE = 0.05;
const STEP_MS = 100;
/** A moment whose traces were not readable so long after it counts as this. */
export const MOST_DELAY_MS = 60_000;

interface Look {
  readonly answered_ms: number;
  /** End of the newest trace that was readable. */
  readonly newest_ms: number;
}

interface Answer {
  readonly traces: readonly { readonly start_time_unix_nano: string; readonly duration_ns: string }[];
}

export class ReadableDelay {
  readonly #url: string;
  readonly #looks: Look[] = [];
  #looking = true;
  readonly #done: Promise<void>;

  constructor(url: string) {
    this.#url = url;
    this.#done = this.#look();
  }

  /** Of traces that began so long ago at most: the less, the cheaper. */
  async #newest(within_ms: number): Promise<number | undefined> {
    const start = new Date(Date.now() - within_ms).toISOString();
    const answer = await fetch(`${this.#url}/api/v1/traces?limit=1&start=${start}`, { signal: AbortSignal.timeout(MOST_DELAY_MS) });
    const trace = ((await answer.json()) as Answer).traces?.[0];
    return trace && Number((BigInt(trace.start_time_unix_nano) + BigInt(trace.duration_ns)) / 1_000_000n);
  }

  async #look(): Promise<void> {
    while (this.#looking) {
      const newest_ms = await this.#newest(5000).then((found) => found ?? this.#newest(MOST_DELAY_MS)).catch(() => undefined);
      if (newest_ms !== undefined) this.#looks.push({ answered_ms: Date.now(), newest_ms });
      const delay_ms = Date.now() - (this.#looks.at(-1)?.newest_ms ?? Date.now());
      await new Promise((resolve) => setTimeout(resolve, Math.max(LOOK_EVERY_MS, LOOK_SHARE * delay_ms)));
    }
  }

  /** Waits until traces of `end_ms` are readable, or for as long as counts. */
  async until(end_ms: number): Promise<void> {
    while ((this.#looks.at(-1)?.newest_ms ?? 0) < end_ms && Date.now() < end_ms + MOST_DELAY_MS) await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    this.#looking = false;
    await this.#done;
  }

  /** Of load that never pauses: for each moment of it, until a trace that ended then or later was in an answer; ms. */
  quantiles(begin_ms: number, end_ms: number): { p50_ms: number; p95_ms: number; p99_ms: number } {
    const delays: number[] = [];
    for (let moment_ms = begin_ms, next = 0; moment_ms <= end_ms; moment_ms += STEP_MS) {
      while (next < this.#looks.length && (this.#looks[next] as Look).newest_ms < moment_ms) next += 1;
      delays.push(Math.min((this.#looks[next]?.answered_ms ?? Number.POSITIVE_INFINITY) - moment_ms, MOST_DELAY_MS));
    }
    return { p50_ms: quantile(delays, 0.5), p95_ms: quantile(delays, 0.95), p99_ms: quantile(delays, 0.99) };
  }
}
