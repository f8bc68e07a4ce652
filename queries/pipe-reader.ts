// What comes out of a named pipe, always in the same memory: new memory for each piece costs more than the bytes in it.
import { constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { ConnectOpts, SocketConstructorOpts } from 'node:net';

const BUFFER_BYTES = 256 * 1024;

export class PipeReader {
  readonly #socket: Socket;
  #piece: Buffer | undefined;
  #error: Error | undefined;
  #ended = false;
  #wake: () => void = () => undefined;

  /** Open at once, whether anybody writes yet or not. */
  constructor(path: string) {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const onread: ConnectOpts['onread'] = {
      buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES),
      callback: (bytes: number, buffer: Uint8Array): boolean => {
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

  /** The next bytes, until the one after them is asked for; undefined after the last. */
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

  /** Whoever writes finds nobody who reads; whoever waits for more gets the error. */
  destroy(error?: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
  }
}
