// Sends spooled batches to a warehouse, oldest first, until each is acknowledged.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Spool, SpooledLoss } from './spool.ts';

/** The default level takes four times the CPU for a tenth less. */
const packed = (body: Uint8Array): Promise<Uint8Array> => promisify(gzip)(body, { level: 1 });

export interface SpoolSenderOptions {
  /** Base URL of the warehouse. */
  readonly url: string;
  readonly token?: string;
  readonly compress?: 'none' | 'gzip';
  log(line: string): void;
  /** A batch that the warehouse will never take was given up. */
  on_refused?(lost: SpooledLoss): void;
  readonly fetch?: typeof fetch;
  readonly retry_ms?: { first: number; most: number };
}

export class SpoolSender {
  readonly #spool: Spool;
  readonly #options: SpoolSenderOptions;
  #wake: () => void = () => undefined;
  #stopping = false;
  #running: Promise<void> | undefined;
  #failing = false;
  readonly counters = { sent: 0, retried: 0, refused: 0 };

  constructor(spool: Spool, options: SpoolSenderOptions) {
    this.#spool = spool;
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Something new lies in the spool. */
  notify(): void {
    this.#wake();
  }

  /** Tries to empty the spool until the deadline; what is left stays on disk for the next start. */
  async stop(deadline_ms: number): Promise<void> {
    const until = Date.now() + deadline_ms;
    while (this.#spool.length > 0 && Date.now() < until && !this.#failing) await this.#pause(50);
    this.#stopping = true;
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { first, most } = this.#options.retry_ms ?? { first: 200, most: 10_000 };
    let wait_ms = first;
    while (!this.#stopping) {
      const entry = this.#spool.oldest();
      if (entry === undefined) {
        await this.#pause(1000);
        continue;
      }
      const problem = await this.#send(entry);
      if (problem === undefined) {
        if (this.#failing) this.#options.log(`${this.#options.url} takes batches again; ${this.#spool.length} waiting`);
        this.#failing = false;
        wait_ms = first;
        continue;
      }
      if (!this.#failing) this.#options.log(`${problem}; batches wait in the spool and are sent again`);
      this.#failing = true;
      this.counters.retried += 1;
      await this.#pause(wait_ms);
      wait_ms = Math.min(wait_ms * 2, most);
    }
  }

  /** undefined when the batch is done with; otherwise what is wrong, to be tried again. */
  async #send(entry: NonNullable<ReturnType<Spool['oldest']>>): Promise<string | undefined> {
    let response: Response;
    try {
      const stored = await this.#spool.read(entry);
      const zipped = this.#options.compress === 'gzip';
      response = await (this.#options.fetch ?? fetch)(new URL('/api/v1/ingest', this.#options.url), {
        method: 'POST',
        headers: {
          'content-type': 'application/vnd.apache.arrow.stream',
          ...(zipped ? { 'content-encoding': 'gzip' } : {}),
          ...(this.#options.token === undefined ? {} : { authorization: `Bearer ${this.#options.token}` }),
        },
        body: zipped ? await packed(stored) : stored,
        signal: AbortSignal.timeout(60_000),
      });
    } catch (error) {
      const cause = (error as { cause?: Error }).cause;
      return `cannot reach ${this.#options.url}: ${cause?.message ?? (error as Error).message}`;
    }
    const text = await response.text();
    if (response.ok) {
      await this.#spool.remove(entry);
      this.counters.sent += 1;
      return undefined;
    }
    if (response.status === 400 || response.status === 413 || response.status === 422) {
      // Sending it again would meet the same answer for ever and hold back all that follows.
      this.#options.log(`${this.#options.url} refused batch ${entry.name} (${response.status}): ${text.slice(0, 300)}`);
      await this.#spool.remove(entry);
      this.counters.refused += 1;
      this.#options.on_refused?.({ events: entry.events, from_ns: entry.from_ns, to_ns: entry.to_ns });
      return undefined;
    }
    if (response.status === 401 || response.status === 403) return `${this.#options.url} answered ${response.status}: the token is missing, not valid any more, or lacks ingest:write`;
    return `${this.#options.url} answered ${response.status}`;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
