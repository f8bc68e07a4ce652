// What comes out of a named pipe, always in the same memory: new memory for each piece costs more than the bytes in it.
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { ConnectOpts, SocketConstructorOpts } from 'node:net';

const BUFFER_BYTES = 256 * 1024;
const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK;

export class PipeReader {
  readonly #socket: Socket;
  #piece: Buffer | undefined;
  #error: Error | undefined;
  #ended = false;
  #drained = false;
  #wake: () => void = () => undefined;

  /** Open at once, whether anybody writes yet or not. */
  constructor(path: string) {
    const fd = openSync(path, FLAGS);
    const buffers = [Buffer.allocUnsafeSlow(BUFFER_BYTES), Buffer.allocUnsafeSlow(BUFFER_BYTES)] as const;
    let turn: 0 | 1 = 0;
    const onread: ConnectOpts['onread'] = {
      buffer: () => buffers[(turn = turn === 0 ? 1 : 0)],
      callback: (bytes: number, buffer: Uint8Array): boolean => {
        if (this.#drained) return true;
        this.#piece = Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
        this.#wake();
        return false; // until it is asked for more
      },
    };
    const options: SocketConstructorOpts & ConnectOpts = { fd, readable: true, writable: false, onread };
    this.#socket = new Socket(options);
    const end = (): void => {
      this.#ended = true;
      this.#wake();
    };
    this.#socket.once('end', end).once('close', end).once('error', (error: Error) => (this.#error = error));
    this.#socket.resume();
  }

  /** The next bytes; they last until the piece after the next one is asked for. Undefined after the last. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error;
      const piece = this.#piece;
      if (piece !== undefined) {
        this.#piece = undefined;
        return piece;
      }
      if (this.#ended) return undefined;
      const woken = new Promise<void>((resolve) => (this.#wake = resolve));
      this.#socket.resume();
      await woken;
    }
  }

  /** What still comes is thrown away, so that whoever writes it comes to its end; whoever waits for more gets the error. */
  drain(error?: Error): void {
    this.#error ??= error;
    this.#drained = true;
    this.#piece = undefined;
    this.#wake();
    this.#socket.resume();
  }

  destroy(): void {
    this.#ended = true;
    this.#wake();
    this.#socket.destroy();
  }
}

/** What nobody has read of a pipe that nobody writes to any more. */
export function emptyPipe(path: string): void {
  const fd = openSync(path, FLAGS);
  const rest = Buffer.allocUnsafe(BUFFER_BYTES);
  try {
    while (readSync(fd, rest) > 0);
  } finally {
    closeSync(fd);
  }
}
