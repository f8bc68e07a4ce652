// Secrets in payload that is kept: values of Cookie, Set-Cookie, (Proxy-)Authorization and what is used in their place; of URLs the query, the fragment, and
// who asks (user:password@). It reads lines and knows no protocol, so that what the parsers do not understand is blanked as well. Where bytes before a payload
// were not captured, it blanks up to the end of the line: they may have begun a secret.
import { EVENT_FLAGS } from '../schema/records.ts';
import { LIKELY_REQUEST, classify } from './http1-head.ts';
import type { SocketEvent } from './socket-event.ts';
import type { Side, SocketState } from './socket-state.ts';

// Where the redactor stands in a direction (side.redaction).
const LINE_START = 0;
const NAME = 1;
const PASS = 2;
const BLANK_LINE = 3;
/** The line before held a secret: folded, it goes on. */
const AFTER_BLANK = 4;
/** What follows the first word of a line: a request's target, if it is one. */
const TARGET = 5;
/** In it: after ':', after ':/', after '://'. */
const TARGET_COLON = 6;
const TARGET_SLASH = 7;
const AUTHORITY = 8;
/** Up to the next space. */
const QUERY = 9;
/** Added to these: in the value of a field that holds URLs, any number of them. */
const IN_FIELD = 16;

const SECRET_FIELDS = new Set([
  'cookie', 'cookie2', 'set-cookie', 'set-cookie2', 'authorization', 'proxy-authorization', 'x-authorization', 'x-api-key', 'x-apikey', 'api-key', 'apikey', 'x-auth-token', 'x-access-token',
  'x-session-token', 'x-csrf-token', 'x-xsrf-token', 'x-amz-security-token', 'x-goog-api-key', 'x-goog-iap-jwt-assertion', 'x-vault-token', 'x-functions-key', 'private-token', 'x-gitlab-token',
]);
const URL_FIELDS = new Set(['referer', 'location', 'content-location', 'origin', 'link', 'refresh']);
const LONGEST_NAME = 32;

export interface RedactionOptions {
  readonly keep_query: boolean;
  /** Names of more fields whose values are blanked. */
  readonly headers?: readonly string[];
  /** Parts of paths that are not stored. Payload that is kept then has no request targets. */
  readonly paths?: readonly RegExp[];
}

const LF = 10;
const CR = 13;
const SPACE = 0x20;
const TAB = 9;
const COLON = 0x3a;
const SLASH = 0x2f;
const QUESTION = 0x3f;
const HASH = 0x23;
const AT_SIGN = 0x40;
const STAR = 0x2a;

function nextInUrl(state: number, byte: number, keep_query: boolean): number {
  const in_field = state & IN_FIELD;
  switch (byte) {
    case SPACE:
      return in_field === 0 ? PASS : TARGET | IN_FIELD;
    case QUESTION:
    case HASH:
      return (keep_query ? TARGET : QUERY) | in_field;
    case COLON:
      return TARGET_COLON | in_field;
    case SLASH:
      return ((state ^ in_field) === TARGET_COLON ? TARGET_SLASH : (state ^ in_field) === TARGET_SLASH ? AUTHORITY : TARGET) | in_field;
    default:
      return TARGET | in_field;
  }
}

export class Redactor {
  readonly #keep_query: boolean;
  readonly #keep_target: boolean;
  readonly #secret_fields: ReadonlySet<string>;
  readonly #longest_name: number;
  #event: SocketEvent | null = null;
  #side: Side | null = null;
  #at_start = LINE_START;

  constructor({ keep_query, headers = [], paths = [] }: RedactionOptions) {
    this.#keep_query = keep_query;
    this.#keep_target = paths.length === 0;
    this.#secret_fields = new Set([...SECRET_FIELDS, ...headers.map((name) => name.toLowerCase())]);
    this.#longest_name = [...this.#secret_fields].reduce((longest, name) => Math.max(longest, name.length), LONGEST_NAME);
  }

  /** Before each event's apply, in the order of the stream. */
  prepare(event: SocketEvent, socket: SocketState, side: Side | null): void {
    this.#event = event;
    this.#side = side;
    const { bytes, origin, offset, captured_end } = event;
    const line = captured_end > offset ? classify(bytes, origin + offset, origin + captured_end) : 0;
    const begins = offset === 0 && (event.flags & EVENT_FLAGS.relative_offset) === 0;
    if (side !== null && (side.redacted_to === offset || (side.redacted_to < 0 && begins))) {
      this.#at_start = side.redaction === PASS && line >= LIKELY_REQUEST ? LINE_START : side.redaction;
    } else if (line >= LIKELY_REQUEST) this.#at_start = LINE_START;
    else this.#at_start = side !== null && socket.decided_opaque ? PASS : BLANK_LINE;
  }

  /** data[start, end) is the payload of the event prepared. */
  apply(data: Uint8Array, start: number, end: number): void {
    const side = this.#side;
    let state = this.#at_start;
    let name = side?.redaction_name ?? '';
    const begins = side?.begins ?? [];
    const base = this.#event?.offset ?? 0;
    let next_begin = 0;
    let authority = start;
    for (let at = start; at < end; at += 1) {
      while (next_begin < begins.length && (begins[next_begin] as number) <= base + at - start) {
        if (begins[next_begin] === base + at - start) state = LINE_START;
        next_begin += 1;
      }
      const byte = data[at] as number;
      if (byte === LF) {
        state = state === BLANK_LINE ? AFTER_BLANK : LINE_START;
        continue;
      }
      if (byte === CR) continue;
      if (state === AFTER_BLANK) state = byte === SPACE || byte === TAB ? BLANK_LINE : LINE_START;
      if (state === LINE_START) {
        state = NAME;
        name = '';
      }
      const in_field = state & IN_FIELD;
      switch (state ^ in_field) {
        case NAME:
          if (byte === COLON) {
            state = this.#secret_fields.has(name) || (URL_FIELDS.has(name) && !this.#keep_target) ? BLANK_LINE : URL_FIELDS.has(name) ? TARGET | IN_FIELD : PASS;
          } else if (byte === SPACE || byte === TAB) {
            if (!this.#secret_fields.has(name)) state = this.#keep_target ? TARGET : QUERY;
          } else {
            name += String.fromCharCode(byte).toLowerCase();
            if (name.length > this.#longest_name) state = PASS;
          }
          break;
        case BLANK_LINE:
          if (byte !== SPACE) data[at] = STAR;
          break;
        case TARGET:
        case TARGET_COLON:
        case TARGET_SLASH:
          state = nextInUrl(state, byte, this.#keep_query);
          authority = at + 1;
          break;
        case AUTHORITY:
          if (byte === AT_SIGN) {
            data.fill(STAR, authority, at);
            authority = at + 1;
          } else if (byte === SLASH || byte === QUESTION || byte === HASH || byte === SPACE) {
            state = nextInUrl(state, byte, this.#keep_query);
          }
          break;
        case QUERY:
          if (byte === SPACE) state = in_field === 0 ? PASS : TARGET | IN_FIELD;
          else data[at] = STAR;
          break;
      }
    }
    // What follows the payload may be an '@'.
    if ((state & ~IN_FIELD) === AUTHORITY) data.fill(STAR, authority, end);
    if (side === null) return;
    side.redaction = state;
    side.redaction_name = name;
    side.redacted_to = base + end - start;
  }

  /** After each event. */
  done(): void {
    if (this.#side !== null) this.#side.begins.length = 0;
    this.#side = null;
    this.#event = null;
  }
}

/** What of a path is stored: nothing that one of these finds. */
export function redactPath(path: string, patterns: readonly RegExp[]): string {
  return patterns.reduce((left, pattern) => left.replaceAll(pattern, '{redacted}'), path);
}
