// A program's standard output, read into one piece of memory again and again: what spawn's own streams give is made anew for each
// read, and that is what V8 collects garbage for.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Decoded in some 0.3 ms. */
export const PIECE_BYTES = 32 * 1024;

export class OutputReader {
  /** To be the program's standard output; destroyed here once the program has it. */
  readonly theirs: Socket;
  /** The program and all that had its output are gone, and everything was read. */
  readonly ended: Promise<void>;
  readonly #ours: Socket;
  #paused = false;

  private constructor(ours: Socket, theirs: Socket) {
    this.#ours = ours;
    this.theirs = theirs;
    this.ended = new Promise((resolve) => ours.once('close', () => resolve()));
  }

  /** The chunk's memory is used again after the call. */
  static async open(on_chunk: (chunk: Uint8Array) => void): Promise<OutputReader> {
    // Node.js has no pair of sockets: nobody else gets at this path.
    const folder = mkdtempSync(join(tmpdir(), 'tracehouse-'));
    const server = createServer({ pauseOnConnect: true });
    try {
      const path = join(folder, 'output.sock');
      server.listen(path);
      await once(server, 'listening');
      const accepted = once(server, 'connection');
      // One piece, then whoever waits for this thread: libuv would read 32 on end, and DuckDB asks for each 2,048 rows that it stores.
      const read = (bytes: number, piece: Uint8Array): boolean => {
        on_chunk(piece.subarray(0, bytes));
        setImmediate(() => reader.#goOn());
        return false;
      };
      const ours = connect({ path, onread: { buffer: new Uint8Array(PIECE_BYTES), callback: read } });
      await once(ours, 'connect');
      const [theirs] = (await accepted) as [Socket];
      ours.on('error', () => undefined); // the program's exit tells more
      const reader = new OutputReader(ours, theirs);
      return reader;
    } finally {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  #goOn(): void {
    if (!this.#paused) this.#ours.resume();
  }

  pause(): void {
    this.#paused = true;
    this.#ours.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#ours.resume();
  }
}
