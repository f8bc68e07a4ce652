// What a worker writes to its standard output: frames of one kind byte, a 32-bit length, and so many bytes.
export const FRAME = { ready: 1, begun: 6, head: 2, data: 3, end: 4, error: 5 } as const;

export interface Frame {
  readonly kind: number;
  readonly body: Buffer;
}

const HEAD_BYTES = 5;

export function encodeFrame(kind: number, body: Uint8Array | string): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const frame = Buffer.allocUnsafe(HEAD_BYTES + bytes.byteLength);
  frame.writeUInt8(kind, 0);
  frame.writeUInt32LE(bytes.byteLength, 1);
  frame.set(bytes, HEAD_BYTES);
  return frame;
}

/** Bytes as they come -> whole frames. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  *read(bytes: Buffer): Generator<Frame> {
    this.#pending = this.#pending.byteLength === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    while (this.#pending.byteLength >= HEAD_BYTES) {
      const end = HEAD_BYTES + this.#pending.readUInt32LE(1);
      if (this.#pending.byteLength < end) return;
      yield { kind: this.#pending.readUInt8(0), body: this.#pending.subarray(HEAD_BYTES, end) };
      this.#pending = this.#pending.subarray(end);
    }
  }
}
