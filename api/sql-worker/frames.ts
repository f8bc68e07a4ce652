// What a worker writes to its standard output: frames of one kind byte, a 32-bit length, and so many bytes.
export const FRAME = { ready: 1, begun: 6, head: 2, data: 3, end: 4, error: 5, resting: 7, rested: 8 } as const;

export interface Frame {
  readonly kind: number;
  readonly body: Buffer;
}

const HEAD_BYTES = 5;

/** Of a frame whose body has so many bytes. */
export function frameHead(kind: number, body_bytes: number): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeUInt8(kind, 0);
  head.writeUInt32LE(body_bytes, 1);
  return head;
}

/** Bytes as they come -> frames. Those of data come in pieces, as they are: nobody needs them whole. They last as long as the bytes do. */
export class FrameReader {
  #head: Buffer = Buffer.alloc(0);
  /** Of the frame whose head is known: what is still to come of it. */
  #body: { readonly kind: number; left: number; readonly parts: Buffer[] } | undefined;

  *read(bytes: Buffer): Generator<Frame> {
    let at = 0;
    while (at < bytes.byteLength || this.#body?.left === 0) {
      if (this.#body === undefined) {
        const head = bytes.subarray(at, at + HEAD_BYTES - this.#head.byteLength);
        at += head.byteLength;
        this.#head = Buffer.concat([this.#head, head]);
        if (this.#head.byteLength < HEAD_BYTES) return;
        this.#body = { kind: this.#head.readUInt8(0), left: this.#head.readUInt32LE(1), parts: [] };
        this.#head = Buffer.alloc(0);
      }
      const body = this.#body;
      const part = bytes.subarray(at, at + body.left);
      at += part.byteLength;
      body.left -= part.byteLength;
      if (body.kind === FRAME.data) {
        if (part.byteLength > 0) yield { kind: body.kind, body: part };
      } else body.parts.push(Buffer.from(part));
      if (body.left > 0) return;
      this.#body = undefined;
      if (body.kind !== FRAME.data) yield { kind: body.kind, body: Buffer.concat(body.parts) };
    }
  }
}
