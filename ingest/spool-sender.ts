// Sends spooled batches to a warehouse, oldest first, until each is acknowledged.
import type { FileHandle } from 'node:fs/promises';
import { FilePost } from './file-post.ts';
import type { Answer } from './file-post.ts';
import type { Spool, SpoolEntry, SpooledLoss } from './spool.ts';

export interface SpoolSenderOptions {
  /** Base URL of the warehouse. */
  readonly url: string;
  readonly token?: string;
  readonly compress?: 'none' | 'gzip';
  log(line: string): void;
  /** A batch that the warehouse will never take, or whose file has gone, was given up. */
  on_refused?(lost: SpooledLoss): void;
  readonly retry_ms?: { first: number; most: number };
}

export class SpoolSender {
  readonly #spool: Spool;
  readonly #options: SpoolSenderOptions;
  readonly #post: FilePost;
  #wake: () => void = () => undefined;
  #stopping = false;
  #running: Promise<void> | undefined;
  #failing = false;
  readonly counters = { sent: 0, retried: 0, refused: 0 };

  constructor(spool: Spool, options: SpoolSenderOptions) {
    this.#spool = spool;
    this.#options = options;
    this.#post = new FilePost(new URL('/api/v1/ingest', options.url), {
      'content-type': 'application/vnd.apache.arrow.stream',
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    });
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
    this.#post.close();
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
      const problem = await this.#send(entry).catch((error: Error) => `cannot clear the spool: ${error.message}`);
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
  async #send(entry: SpoolEntry): Promise<string | undefined> {
    let answer: Answer;
    const opened = await this.#open(entry);
    if (typeof opened === 'string' || opened === undefined) return opened;
    try {
      try {
        answer = await this.#post.send(opened, entry.bytes, this.#options.compress === 'gzip');
      } finally {
        await opened.close();
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EIO') return this.#unreadable(entry, error as Error);
      return `cannot reach ${this.#options.url}: ${(error as Error).message}`;
    }
    const { status, text } = answer;
    if (status >= 200 && status < 300) {
      await this.#spool.remove(entry);
      this.counters.sent += 1;
      return undefined;
    }
    if (status === 400 || status === 413 || status === 422) {
      // Sending it again would meet the same answer for ever and hold back all that follows.
      this.#options.log(`${this.#options.url} refused batch ${entry.name} (${status}): ${text.slice(0, 300)}`);
      await this.#giveUp(entry);
      return undefined;
    }
    if (status === 401 || status === 403) return `${this.#options.url} answered ${status}: the token is missing, not valid any more, or lacks ingest:write`;
    return `${this.#options.url} answered ${status}`;
  }

  /** undefined: the file has gone, or its disk cannot read it. It would hold back all that follows; what was in it is counted. */
  async #open(entry: SpoolEntry): Promise<FileHandle | string | undefined> {
    try {
      return await this.#spool.read(entry);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' ? this.#spool.isGone(entry) : code === 'EIO' && !this.#spool.isAway) return this.#unreadable(entry, error as Error);
      return `cannot read the spool: ${message}`;
    }
  }

  async #unreadable(entry: SpoolEntry, error: Error): Promise<undefined> {
    this.#options.log(`batch ${entry.name} is given up: ${error.message}`);
    await this.#giveUp(entry);
  }

  async #giveUp(entry: SpoolEntry): Promise<void> {
    if (!(await this.#spool.remove(entry))) return; // it had to go for want of room, and is counted as that
    this.counters.refused += 1;
    this.#options.on_refused?.({ events: entry.events, from_ns: entry.from_ns, to_ns: entry.to_ns });
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
