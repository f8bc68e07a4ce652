// HTTP/1.x: where messages begin and end. Bodies are skipped by stream offset; what was not captured is not needed,
// except for a head, a chunk's size and a start line.
import { ChunkReader, beginChunks, endsChunks, endsHead, rollTail, withinChunk } from './http1-chunks.ts';
import { HeadReader } from './http1-head-reader.ts';
import { LIKELY_REQUEST, NOT_HTTP, PREFIX, REQUEST, RESPONSE, classify } from './http1-head.ts';
import type { StartLine } from './http1-head.ts';
import type { MessageBook } from './message-book.ts';
import type { EndReason, OpenMessage } from './open-message.ts';
import { IN, OUT } from './open-message.ts';
import type { Protocol } from './protocol.ts';
import type { SocketEvent } from './socket-event.ts';
import { UNKNOWN_ROLE } from './socket-state.ts';
import type { Side, SocketState } from './socket-state.ts';

// Where a direction stands (side.state).
/** Between messages. */
export const START = 0;
const HEAD = 1;
const LENGTH = 2;
const CHUNKS = 3;
/** Somewhere in a chunked body: only the bytes that end it are waited for. */
const CHUNKS_LOST = 4;
const UNTIL_CLOSE = 5;
/** The head was not captured to its end: the message lasts until the other direction moves. */
const HEAD_CUT = 6;
/** Nothing is known until a start line follows a change of direction. */
export const LOST = 7;
/** After CONNECT: the answer decides what these bytes are. */
const TUNNEL_WAIT = 8;

const NO_BODY_METHODS = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT']);

export interface Http1Options {
  readonly keep_query: boolean;
}

export class Http1 implements Protocol {
  readonly #book: MessageBook;
  readonly #opaque: Protocol;
  readonly #head: HeadReader;
  readonly #chunks = new ChunkReader();

  constructor(book: MessageBook, opaque: Protocol, options: Http1Options) {
    this.#book = book;
    this.#opaque = opaque;
    this.#head = new HeadReader(options.keep_query);
  }

  consume(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    switch (side.state) {
      case START:
        return this.#start(socket, side, event, at);
      case HEAD:
        return this.#moreHead(socket, side, event, at, PREFIX);
      case LENGTH:
        return this.#length(socket, side, event, at);
      case CHUNKS:
        return this.#readChunks(socket, side, event, at);
      case CHUNKS_LOST:
        side.message?.extend(event, event.end);
        rollTail(side, event);
        if (endsChunks(side, event)) this.#finish(socket, side, 'chunked');
        return event.end;
      case UNTIL_CLOSE:
        side.message?.extend(event, event.end);
        return event.end;
      case HEAD_CUT:
        side.message?.extend(event, event.end);
        rollTail(side, event);
        this.#endOfCutHead(socket, side, event);
        return event.end;
      case LOST:
        return this.#lost(socket, side, event, at);
      default:
        return event.end;
    }
  }

  #start(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    const { bytes, origin, captured_end } = event;
    let from = at;
    // Empty lines between messages are allowed for.
    while (from < captured_end && ((bytes[origin + from] as number) === 13 || (bytes[origin + from] as number) === 10)) from += 1;
    if (from > at && from < captured_end) at = from;
    else if (from > at && from === event.end) return event.end;
    if (at >= captured_end) {
      if (!socket.decided) return this.#turnOpaque(socket, at, true);
      this.#beginMessage(socket, side, event, at);
      return this.#cut(socket, side, event);
    }
    const line = classify(bytes, origin + at, origin + captured_end);
    if (!this.#fits(socket, side, line)) return this.#notHttp(socket, side, event, at);
    this.#beginMessage(socket, side, event, at);
    side.state = HEAD;
    side.head_length = 0;
    return this.#moreHead(socket, side, event, at, line);
  }

  /** Is it what this direction carries? Settles who sends requests when that was open. */
  #fits(socket: SocketState, side: Side, line: StartLine): boolean {
    if (line === NOT_HTTP) return false;
    if (line === PREFIX) return true;
    const request = line !== RESPONSE;
    const requester = request === (side.direction === OUT) ? OUT : IN;
    if (socket.requester === -1 || (!socket.decided && socket.role === UNKNOWN_ROLE && side.message === null)) socket.requester = requester;
    return socket.requester === requester;
  }

  #beginMessage(socket: SocketState, side: Side, event: SocketEvent, at: number): OpenMessage {
    const other = socket.other(side);
    const message = this.#book.begin(socket, side, event, at);
    message.http = true;
    if (message.kind === 'response') {
      if (other.state === HEAD_CUT) this.#breakOff(socket, other, 'next', event);
    } else {
      if (socket.waiting.length > 1) this.#book.follow(socket);
      else this.#endResponseBefore(socket, other, event);
    }
    return message;
  }

  /** A request begins and none waits: whatever response is open has been read to its end by the requester. */
  #endResponseBefore(socket: SocketState, side: Side, event: SocketEvent): void {
    const message = side.message;
    if (message === null || message.kind !== 'response') return;
    const body_unseen = side.state === LENGTH && message.exchange.method === null && message.end === message.start + message.head_bytes;
    if (body_unseen) this.#finish(socket, side, 'no_body'); // the answer to a HEAD that was not seen
    else if (side.state === HEAD_CUT || side.state === CHUNKS_LOST || side.state === UNTIL_CLOSE) this.#breakOff(socket, side, 'next', event);
  }

  #moreHead(socket: SocketState, side: Side, event: SocketEvent, at: number, known: StartLine): number {
    const message = side.message;
    if (message === null) return this.#desync(side, event);
    const split = side.head_length > 0;
    const step = this.#head.read(side, event, at, known);
    if (step === 'whole') return this.#headRead(socket, side, event, message, at);
    const { line } = this.#head;
    if (!this.#fits(socket, side, line)) return this.#notHttp(socket, side, event, at);
    if (step === 'cut' && line === PREFIX && !socket.decided) return this.#notHttp(socket, side, event, at);
    if (line >= REQUEST) socket.decided = true;
    message.extend(event, event.end);
    if (step === 'more') return event.end;
    this.#head.describe(message);
    if (split) this.#book.follow(socket);
    return this.#cut(socket, side, event);
  }

  #headRead(socket: SocketState, side: Side, event: SocketEvent, message: OpenMessage, from: number): number {
    const { line, end: at } = this.#head;
    if ((line !== REQUEST && line !== RESPONSE) || !this.#fits(socket, side, line)) return this.#notHttp(socket, side, event, from);
    if ((line === RESPONSE) !== (message.kind === 'response')) return this.#notHttp(socket, side, event, from);
    socket.decided = true;
    side.tentative = false;
    this.#head.describe(message);
    message.head_done = true;
    message.extend(event, at);
    message.head_bytes = at - message.start;
    return line === RESPONSE ? this.#responseBody(socket, side, message, at) : this.#requestBody(socket, side, message, at);
  }

  #requestBody(socket: SocketState, side: Side, message: OpenMessage, at: number): number {
    if (this.#head.fields.chunked) {
      beginChunks(side);
      side.state = CHUNKS;
    } else if (message.content_length > 0) {
      side.state = LENGTH;
      side.until = at + message.content_length;
    } else {
      this.#finish(socket, side, message.content_length === 0 ? 'length' : 'no_body');
      if (message.exchange.method === 'CONNECT') side.state = TUNNEL_WAIT;
    }
    return at;
  }

  #responseBody(socket: SocketState, side: Side, message: OpenMessage, at: number): number {
    const { status, exchange } = message;
    if (status === 101 || (exchange.method === 'CONNECT' && status >= 200 && status < 300)) {
      this.#finish(socket, side, 'no_body');
      this.#switchToOpaque(socket);
      return at;
    }
    if (status < 200) {
      this.#book.putBack(socket, side);
      side.state = START;
      return at;
    }
    const other = socket.other(side);
    if (other.state === TUNNEL_WAIT) other.state = START;
    if (exchange.method === 'HEAD' || status === 204 || status === 304) {
      this.#finish(socket, side, 'no_body');
    } else if (this.#head.fields.chunked) {
      beginChunks(side);
      side.state = CHUNKS;
    } else if (message.content_length > 0) {
      side.state = LENGTH;
      side.until = at + message.content_length;
    } else if (message.content_length === 0) {
      this.#finish(socket, side, 'length');
    } else {
      side.state = UNTIL_CLOSE;
    }
    return at;
  }

  /** Told the final answer before it sent the body, a client may keep it and send its next request. */
  #bodyKept(message: OpenMessage, event: SocketEvent, at: number): boolean {
    if (!message.expects_continue || !message.exchange.answered || at !== message.start + message.head_bytes) return false;
    const line = classify(event.bytes, event.origin + at, event.origin + Math.max(at, event.captured_end));
    return line === REQUEST || line === LIKELY_REQUEST;
  }

  #length(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    const message = side.message;
    if (message === null) return this.#desync(side, event);
    if (this.#bodyKept(message, event, at)) {
      this.#finish(socket, side, 'next');
      return at;
    }
    const end = Math.min(event.end, side.until);
    message.extend(event, end);
    if (end === side.until) this.#finish(socket, side, 'length');
    return end;
  }

  #readChunks(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    const message = side.message;
    if (message === null) return this.#desync(side, event);
    if (this.#bodyKept(message, event, at)) {
      this.#finish(socket, side, 'next');
      return at;
    }
    const step = this.#chunks.read(side, event, at);
    if (step === 'lost') {
      message.extend(event, event.end);
      side.state = CHUNKS_LOST;
      side.tail_length = 0;
      rollTail(side, event);
      if (endsChunks(side, event)) this.#finish(socket, side, 'chunked');
      return event.end;
    }
    message.extend(event, this.#chunks.at);
    if (step === 'end') this.#finish(socket, side, 'chunked');
    return this.#chunks.at;
  }

  /** The head goes on beyond what was captured. */
  #cut(socket: SocketState, side: Side, event: SocketEvent): number {
    const message = side.message;
    if (message === null) return this.#desync(side, event);
    if (event.captured_end === event.offset) this.#book.follow(socket);
    side.head_length = 0;
    side.tentative = false;
    socket.decided = true;
    message.head_done = true;
    message.complete = false;
    message.head_bytes = Math.max(0, event.captured_end - message.start);
    message.extend(event, event.end);
    this.#book.countGap(event);
    side.state = HEAD_CUT;
    side.chunk_size = message.method === null && message.status === 0 ? 0 : this.#head.fields.chunked ? 1 : 0;
    side.tail_length = 0;
    rollTail(side, event);
    this.#endOfCutHead(socket, side, event);
    return event.end;
  }

  /** With its last bytes, a call tells that the head ends here, or a chunked message. side.chunk_size = 1: chunked. */
  #endOfCutHead(socket: SocketState, side: Side, event: SocketEvent): void {
    const message = side.message;
    if (message === null) return;
    const chunked = side.chunk_size === 1;
    if (chunked && endsChunks(side, event)) return this.#finish(socket, side, 'chunked');
    if (!endsHead(side) || (message.method === null && message.status === 0)) return;
    const at = event.end;
    message.head_bytes = at - message.start;
    const { method } = message.exchange;
    if (chunked) {
      beginChunks(side);
      side.state = CHUNKS;
    } else if (message.kind === 'response' && (method === 'HEAD' || message.status === 204 || message.status === 304)) {
      this.#finish(socket, side, 'no_body');
    } else if (message.content_length > 0) {
      side.until = at + message.content_length;
      side.state = LENGTH;
    } else if (message.content_length === 0) {
      this.#finish(socket, side, 'length');
    } else if (message.kind === 'request' && method !== null && NO_BODY_METHODS.has(method)) {
      this.#finish(socket, side, 'no_body');
    }
  }

  #lost(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    if (at !== event.offset) return event.end;
    const first = side.last_other < 0;
    if (!first && side.last_other === event.other) return event.end;
    const line = event.captured_end > at ? classify(event.bytes, event.origin + at, event.origin + event.captured_end) : NOT_HTTP;
    if (!this.#fits(socket, side, line)) {
      if (first || socket.decided || event.captured_end === at) return event.end;
      return this.#turnOpaque(socket, at, true);
    }
    side.tentative = true;
    side.state = START;
    return at;
  }

  /** These bytes are not what this protocol allows here. */
  #notHttp(socket: SocketState, side: Side, event: SocketEvent, at: number): number {
    side.head_length = 0;
    if (side.tentative) {
      side.tentative = false;
      this.#book.discard(socket, side);
      return this.#desync(side, event);
    }
    if (!socket.decided) {
      const from = side.message?.end ?? at;
      return this.#turnOpaque(socket, Math.max(event.offset, Math.min(at, from)), false);
    }
    this.#book.countGap(event);
    this.#book.discard(socket, side);
    return this.#desync(side, event);
  }

  #desync(side: Side, event: SocketEvent): number {
    side.state = LOST;
    return event.end;
  }

  /** The connection speaks something else. Messages that have begun go on as that. */
  #turnOpaque(socket: SocketState, at: number, may_turn_http: boolean): number {
    for (const side of socket.sides) {
      side.head_length = 0;
      side.head = null;
      side.state = START;
      side.tentative = false;
      if (side.message !== null) {
        side.message.http = false;
        side.message.head_done = true;
      }
    }
    socket.may_turn_http ||= may_turn_http;
    socket.decided_opaque = !socket.may_turn_http;
    socket.protocol = this.#opaque;
    return at;
  }

  /** After 101, or 2xx to CONNECT. */
  #switchToOpaque(socket: SocketState): void {
    for (const side of socket.sides) {
      if (side.message !== null) this.#book.finish(socket, side, 'next');
      side.state = START;
    }
    socket.waiting.length = 0;
    socket.may_turn_http = false;
    socket.decided_opaque = true;
    socket.protocol = this.#opaque;
  }

  #finish(socket: SocketState, side: Side, reason: EndReason): void {
    side.state = START;
    this.#book.finish(socket, side, reason);
  }

  #breakOff(socket: SocketState, side: Side, reason: EndReason, event: SocketEvent): void {
    if (side.state !== HEAD_CUT) this.#book.countGap(event);
    side.state = START;
    this.#book.breakOff(socket, side, reason);
  }

  gap(socket: SocketState, side: Side, to: number, event: SocketEvent): void {
    const message = side.message;
    if (side.state === UNTIL_CLOSE || (side.state === CHUNKS && withinChunk(side, to)) || (side.state === LENGTH && to < side.until)) {
      if (message !== null) message.end = Math.max(message.end, to);
      return;
    }
    const at_boundary = side.state === LENGTH && to === side.until;
    this.#book.countGap(event);
    if (message !== null && side.tentative) this.#book.discard(socket, side);
    else if (message !== null) {
      if (at_boundary) message.end = to;
      this.#book.breakOff(socket, side, 'gap');
    }
    side.head_length = 0;
    side.tentative = false;
    side.state = at_boundary ? START : LOST;
    if (at_boundary) return;
    if (socket.isRequestSide(side)) socket.requests_lost_to = to;
    else socket.pairing_lost = true;
  }

  close(socket: SocketState, side: Side, reason: EndReason, errno: number): void {
    const message = side.message;
    if (message !== null) {
      if (side.tentative && side.state === HEAD) this.#book.discard(socket, side);
      else if (reason === 'close' && side.state === UNTIL_CLOSE) this.#book.finish(socket, side, 'close');
      else {
        if (side.state === HEAD) message.head_bytes = side.head_length;
        this.#book.breakOff(socket, side, reason, errno);
      }
    }
    side.state = START;
    side.head_length = 0;
    side.tentative = false;
  }
}
