// The demo services need root for their network namespace, for setting it up and for taking it down: they live in a
// process of their own, which ends them when its standard input ends, however we end.
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { TracehouseError } from '../schema/errors.ts';

export class DemoProcess {
  /** Name of the network namespace that the services run in. */
  readonly netns: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, netns: string) {
    this.#child = child;
    this.netns = netns;
  }

  /** Resolves when the namespace exists and the services start. */
  static async start(log: (line: string) => void): Promise<DemoProcess> {
    const script = fileURLToPath(new URL('../demo/run-demo.js', import.meta.url));
    const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    const netns = await new Promise<string>((resolve, reject) => {
      const lines = createInterface({ input: child.stdout });
      lines.on('line', (line) => {
        const found = /^netns (\S+)$/.exec(line);
        if (found?.[1] === undefined) log(`demo: ${line}`);
        else resolve(found[1]);
      });
      child.on('exit', (code) => reject(new TracehouseError('demo', `the demo services ended (exit code ${code})`, { mend: 'see the lines above; the demo needs root, iproute2 and python3' })));
      child.on('error', reject);
    });
    return new DemoProcess(child, netns);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    this.#child.stdin?.end();
    await gone;
  }
}
