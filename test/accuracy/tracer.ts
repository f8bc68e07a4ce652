// tracehouse itself, as a user starts it, and its SQL over HTTP.
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { endGroup } from '../../demo/service-group.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { packageRoot } from '../../schema/package-root.ts';

export type Row = Readonly<Record<string, unknown>>;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Tracer {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #lines: string[];

  private constructor(child: ChildProcess, url: string, lines: string[]) {
    this.#child = child;
    this.url = url;
    this.#lines = lines;
  }

  /** Resolves when it collects. */
  static async start(options: { data: string; scopes: readonly string[]; args?: readonly string[] }): Promise<Tracer> {
    const args = ['--pdeathsig', 'TERM', '--', 'bin/tracehouse', 'up', '--data', options.data, '--listen', '127.0.0.1:0', ...options.scopes.flatMap((scope) => ['--scope', scope]), ...(options.args ?? [])];
    const child = spawn('setpriv', args, { cwd: packageRoot(), stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    const lines: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
    const url = await new Promise<string>((resolve, reject) => {
      const failed = (why: string): void => reject(new TracehouseError('tracer', `tracehouse up ${why}: ${lines.slice(-5).join(' | ')}`));
      const timer = setTimeout(() => {
        failed('was not ready after 30 s');
        void endGroup(child, 2000);
      }, 30_000);
      createInterface({ input: child.stdout }).on('line', (line) => {
        const found = /^ready (\S+)/.exec(line)?.[1];
        if (found === undefined) return;
        clearTimeout(timer);
        resolve(found.replace(/\/$/, ''));
      });
      child.on('exit', (code, signal) => {
        clearTimeout(timer);
        failed(`ended (${code ?? signal})`);
      });
      child.on('error', reject);
    });
    return new Tracer(child, url, lines);
  }

  /** Of `tracehouse up`. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** What it said on standard error. */
  get said(): readonly string[] {
    return this.#lines;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async sql(sql: string): Promise<Row[]> {
    if (!this.running) throw new TracehouseError('tracer', `tracehouse up has ended: ${this.#lines.slice(-5).join(' | ')}`);
    const response = await fetch(`${this.url}/api/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ sql, max_rows: 1_000_000, timeout_ms: 30_000 }),
    });
    const text = await response.text();
    if (!response.ok) throw new TracehouseError('sql', `${response.status}: ${text}`);
    const result = JSON.parse(text) as { columns: { name: string }[]; rows: unknown[][] };
    return result.rows.map((row) => Object.fromEntries(result.columns.map((column, index) => [column.name, row[index]])));
  }

  /** Asks until done() is true or the time is up; the last answer either way. On a busy machine an answer may be seconds old: done() is told when it was asked for. */
  async poll(sql: string, done: (rows: Row[], asked_ms: number) => boolean, timeout_ms: number, every_ms = 250): Promise<Row[]> {
    const deadline = Date.now() + timeout_ms;
    for (;;) {
      const asked_ms = Date.now();
      const rows = await this.sql(sql);
      if (done(rows, asked_ms) || Date.now() > deadline) return rows;
      await sleep(every_ms);
    }
  }

  /** As a user ends it; gives its exit code. */
  async stop(): Promise<number | null> {
    if (!this.running) return this.#child.exitCode;
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.kill('SIGTERM');
    await Promise.race([gone, sleep(15_000)]);
    if (this.running) {
      await endGroup(this.#child, 0);
      await gone;
    }
    return this.#child.exitCode;
  }
}
