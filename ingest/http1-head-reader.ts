// A head that may come in any number of calls: parsed in place when it comes in one, collected otherwise.
import { Http1Head, PREFIX, REQUEST, classify, headEnd } from './http1-head.ts';
import type { StartLine } from './http1-head.ts';
import type { OpenMessage } from './open-message.ts';
import type { SocketEvent } from './socket-event.ts';
import type { Side } from './socket-state.ts';

/** Heads that are longer are taken as cut. */
const MOST_HEAD_BYTES = 32 * 1024;
/** Buffers above this are let go of after use. */
const KEPT_BUFFER_BYTES = 4096;

export class HeadReader {
  readonly fields = new Http1Head();
  readonly #keep_query: boolean;
  /** What the stream begins with, as far as it is there. */
  line: StartLine = PREFIX;
  /** Stream offset of the head's end, after 'whole'. */
  end = 0;
  #bytes: Uint8Array = new Uint8Array(0);

  constructor(keep_query: boolean) {
    this.#keep_query = keep_query;
  }

  /** Takes an event's bytes from stream offset `at` on. 'cut': the head goes on beyond what was captured. */
  read(side: Side, event: SocketEvent, at: number, known: StartLine): 'whole' | 'more' | 'cut' {
    const from = event.origin + at;
    const to = event.origin + Math.max(at, event.captured_end);
    return side.head_length === 0 ? this.#inPlace(side, event, at, from, to, known) : this.#collected(side, event, at, from, to);
  }

  #inPlace(side: Side, event: SocketEvent, at: number, from: number, to: number, known: StartLine): 'whole' | 'more' | 'cut' {
    const end = this.fields.parse(event.bytes, from, to, this.#keep_query);
    this.#bytes = event.bytes;
    this.line = known >= REQUEST ? known : classify(event.bytes, from, end < 0 ? to : end);
    if (end >= 0) {
      this.end = at + end - from;
      return 'whole';
    }
    if (event.captured_end < event.end) return 'cut';
    this.#keep(side, event.bytes, from, to);
    return 'more';
  }

  #collected(side: Side, event: SocketEvent, at: number, from: number, to: number): 'whole' | 'more' | 'cut' {
    const before = side.head_length;
    this.#keep(side, event.bytes, from, to);
    const head = side.head as Uint8Array;
    const end = headEnd(head, 0, before, side.head_length);
    this.#bytes = head;
    this.line = classify(head, 0, end < 0 ? side.head_length : end);
    const cut = event.captured_end < event.end || side.head_length >= MOST_HEAD_BYTES;
    if (end < 0 && !cut) return 'more';
    this.fields.parse(head, 0, end < 0 ? side.head_length : end, this.#keep_query);
    if (end < 0) return 'cut';
    this.end = at + end - before;
    side.head_length = 0;
    if (head.length > KEPT_BUFFER_BYTES) side.head = null;
    return 'whole';
  }

  #keep(side: Side, bytes: Uint8Array, from: number, to: number): void {
    const length = side.head_length + to - from;
    if (side.head === null || side.head.length < length) {
      const grown = new Uint8Array(Math.max(512, length * 2));
      if (side.head !== null) grown.set(side.head.subarray(0, side.head_length));
      side.head = grown;
    }
    side.head.set(bytes.subarray(from, to), side.head_length);
    side.head_length = length;
  }

  /** Tells the message what the head said. */
  describe(message: OpenMessage): void {
    const { fields } = this;
    message.http_version = fields.version;
    message.host = fields.host;
    message.content_length = fields.content_length;
    message.expects_continue = fields.expects_continue;
    message.traceparent = fields.traceparent;
    message.request_id = fields.request_id;
    if (message.kind === 'response') {
      message.status = fields.status;
      return;
    }
    message.method = message.exchange.method = fields.method;
    if (fields.path_start >= 0) message.setPath(this.#bytes, fields.path_start, fields.path_end);
  }
}
