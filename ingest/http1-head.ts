// The head of an HTTP/1.x message: start line and the few fields that matter, in one pass over bytes.

export const NOT_HTTP = 0;
/** As far as it goes it may become one. */
export const PREFIX = 1;
/** A known method and the beginning of a target. */
export const LIKELY_REQUEST = 2;
export const REQUEST = 3;
export const RESPONSE = 4;
export type StartLine = typeof NOT_HTTP | typeof PREFIX | typeof LIKELY_REQUEST | typeof REQUEST | typeof RESPONSE;

const SPACE = 0x20;
const CR = 13;
const LF = 10;
const COLON = 0x3a;
const LONGEST_METHOD = 24;
const LONGEST_VALUE = 512;

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'CONNECT', 'TRACE', 'PROPFIND', 'PROPPATCH', 'MKCOL', 'COPY', 'MOVE', 'LOCK', 'UNLOCK', 'SEARCH', 'REPORT', 'PURGE'];
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
const METHOD_BYTES = METHODS.map(ascii);
const VERSION = ascii('HTTP/1.');

const isTokenByte = (byte: number): boolean => (byte >= 0x41 && byte <= 0x5a) || byte === 0x2d || byte === 0x5f;
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;

function knownMethod(bytes: Uint8Array, from: number, to: number): string | null {
  for (let i = 0; i < METHOD_BYTES.length; i += 1) {
    const method = METHOD_BYTES[i] as Uint8Array;
    if (method.length !== to - from) continue;
    let at = 0;
    while (at < method.length && method[at] === bytes[from + at]) at += 1;
    if (at === method.length) return METHODS[i] as string;
  }
  return null;
}

const { latin1Slice } = Buffer.prototype as unknown as { latin1Slice(this: Uint8Array, from: number, to: number): string };

/** As text that is sure to be printable ASCII. */
function text(bytes: Uint8Array, from: number, to: number): string {
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number;
    if (byte < 0x20 || byte > 0x7e) return latin1Slice.call(bytes, from, to).replace(/[^ -~]/g, '?');
  }
  return latin1Slice.call(bytes, from, to);
}

/** How far `bytes[from, to)` begins 'HTTP/1.'; -1 = it does not. */
function versionPrefix(bytes: Uint8Array, from: number, to: number): number {
  const length = Math.min(VERSION.length, to - from);
  for (let at = 0; at < length; at += 1) if (bytes[from + at] !== VERSION[at]) return -1;
  return length;
}

/** What a stream that begins with these bytes is. */
export function classify(bytes: Uint8Array, from: number, to: number): StartLine {
  const version = versionPrefix(bytes, from, to);
  if (version >= 0 && version === to - from) return PREFIX;
  if (version === VERSION.length) {
    // 'HTTP/1.1 200'
    for (let at = from + version; at < to && at < from + 12; at += 1) {
      if (at === from + 8 ? bytes[at] !== SPACE : !isDigit(bytes[at] as number)) return NOT_HTTP;
    }
    return to - from < 12 ? PREFIX : RESPONSE;
  }
  let at = from;
  while (at < to && isTokenByte(bytes[at] as number)) at += 1;
  if (at - from > LONGEST_METHOD) return NOT_HTTP;
  if (at === to) return PREFIX;
  if (at === from || bytes[at] !== SPACE) return NOT_HTTP;
  const method = knownMethod(bytes, from, at);
  const target = at + 1;
  at = target;
  while (at < to && (bytes[at] as number) > SPACE) at += 1;
  if (at === to) {
    const first = bytes[target];
    return method !== null && at > target && (first === 0x2f || first === 0x2a || first === 0x68 || method === 'CONNECT') ? LIKELY_REQUEST : PREFIX;
  }
  if (at === target || bytes[at] !== SPACE) return NOT_HTTP;
  const rest = at + 1;
  const matched = versionPrefix(bytes, rest, to);
  if (matched < 0) return NOT_HTTP;
  if (matched < VERSION.length || rest + 8 >= to) return method === null ? PREFIX : LIKELY_REQUEST;
  return isDigit(bytes[rest + 7] as number) && (bytes[rest + 8] === CR || bytes[rest + 8] === LF) ? REQUEST : NOT_HTTP;
}

/** Where the head that begins at `from` ends (after its empty line), looking from `scan` on; -1 = not within `to`. */
export function headEnd(bytes: Uint8Array, from: number, scan: number, to: number): number {
  for (let at = Math.max(from, scan); at < to; at += 1) {
    if (bytes[at] !== LF) continue;
    const before = bytes[at - 1] === CR ? at - 2 : at - 1;
    if (before >= from && bytes[before] === LF) return at + 1;
  }
  return -1;
}

function isName(bytes: Uint8Array, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i += 1) if (((bytes[at + i] as number) | 0x20) !== name.charCodeAt(i)) return false;
  return true;
}

/** Reused for every head; the fields hold what the last parse found. */
export class Http1Head {
  is_request = false;
  method: string | null = null;
  /** Path without query, as a range of the bytes parsed; -1 = none. */
  path_start = -1;
  path_end = -1;
  status = 0;
  version: '1.0' | '1.1' | null = null;
  host: string | null = null;
  /** -1 = not said, or not a number. */
  content_length = -1;
  chunked = false;
  expects_continue = false;
  traceparent: string | null = null;
  request_id: string | null = null;

  /**
   * Parses bytes[from, to), which may end anywhere: a field whose line is not whole is left out, of the start line what is
   * there counts. Returns where the head ends, -1 when it does not end within `to`.
   */
  parse(bytes: Uint8Array, from: number, to: number, keep_query: boolean): number {
    this.method = this.host = this.traceparent = this.request_id = this.version = null;
    this.path_start = this.path_end = this.content_length = -1;
    this.status = 0;
    this.chunked = this.expects_continue = false;
    let line = this.#startLine(bytes, from, to, keep_query);
    while (line < to) {
      let at = line;
      while (at < to && bytes[at] !== LF) at += 1;
      if (at === to) return -1;
      const end = at > line && bytes[at - 1] === CR ? at - 1 : at;
      if (end === line) return at + 1;
      this.#field(bytes, line, end);
      line = at + 1;
    }
    return -1;
  }

  #startLine(bytes: Uint8Array, from: number, to: number, keep_query: boolean): number {
    let end = from;
    while (end < to && bytes[end] !== LF) end += 1;
    const next = end + 1;
    const whole = end < to;
    if (end > from && bytes[end - 1] === CR) end -= 1;
    this.is_request = versionPrefix(bytes, from, end) !== VERSION.length;
    if (!this.is_request) {
      this.version = bytes[from + 7] === 0x30 ? '1.0' : '1.1';
      if (end >= from + 12) this.status = ((bytes[from + 9] as number) - 48) * 100 + ((bytes[from + 10] as number) - 48) * 10 + (bytes[from + 11] as number) - 48;
      return next;
    }
    let at = from;
    while (at < end && bytes[at] !== SPACE) at += 1;
    this.method = knownMethod(bytes, from, at) ?? text(bytes, from, Math.min(at, from + LONGEST_METHOD));
    const target = at + 1;
    at = target;
    while (at < end && bytes[at] !== SPACE) at += 1;
    if (at > target) this.#target(bytes, target, at, keep_query, whole || at < end);
    if (at + 8 < end + 1) this.version = bytes[at + 8] === 0x30 ? '1.0' : '1.1';
    return next;
  }

  #target(bytes: Uint8Array, from: number, to: number, keep_query: boolean, whole: boolean): void {
    if (this.method === 'CONNECT') {
      this.host = text(bytes, from, Math.min(to, from + LONGEST_VALUE));
      return;
    }
    let start = from;
    if (bytes[from] !== 0x2f) {
      // http://host/path, as proxies are sent it
      let at = from;
      while (at < to && bytes[at] !== COLON) at += 1;
      if (bytes[at] === COLON && bytes[at + 1] === 0x2f && bytes[at + 2] === 0x2f) {
        const authority = at + 3;
        at = authority;
        let user_end = authority;
        while (at < to && bytes[at] !== 0x2f && bytes[at] !== 0x3f) {
          if (bytes[at] === 0x40) user_end = at + 1;
          at += 1;
        }
        // What is there of it may be a user's name and password.
        if (whole || at < to) this.host = text(bytes, user_end, Math.min(at, user_end + LONGEST_VALUE));
        start = at;
      }
    }
    let end = start;
    while (end < to && bytes[end] !== 0x23 && (keep_query || bytes[end] !== 0x3f)) end += 1;
    this.path_start = start;
    this.path_end = end;
  }

  #field(bytes: Uint8Array, line: number, end: number): void {
    switch ((bytes[line] as number) | 0x20) {
      case 0x68: // h
        if (bytes[line + 4] === COLON && isName(bytes, line, 'host')) this.host = this.#value(bytes, line + 5, end);
        break;
      case 0x63: // c
        if (bytes[line + 14] === COLON && isName(bytes, line, 'content-length')) this.#contentLength(bytes, line + 15, end);
        break;
      case 0x74: // t
        if (bytes[line + 17] === COLON && isName(bytes, line, 'transfer-encoding')) this.chunked = /(^|[,\s])chunked\s*$/i.test(this.#value(bytes, line + 18, end));
        else if (bytes[line + 11] === COLON && isName(bytes, line, 'traceparent')) this.traceparent = this.#value(bytes, line + 12, end);
        break;
      case 0x65: // e
        if (bytes[line + 6] === COLON && isName(bytes, line, 'expect')) this.expects_continue = /100-continue/i.test(this.#value(bytes, line + 7, end));
        break;
      case 0x78: // x
        if (bytes[line + 12] === COLON && isName(bytes, line, 'x-request-id')) this.request_id = this.#value(bytes, line + 13, end);
        break;
    }
  }

  #value(bytes: Uint8Array, from: number, end: number): string {
    let start = from;
    let to = end;
    while (start < to && (bytes[start] === SPACE || bytes[start] === 9)) start += 1;
    while (to > start && (bytes[to - 1] === SPACE || bytes[to - 1] === 9)) to -= 1;
    return text(bytes, start, Math.min(to, start + LONGEST_VALUE));
  }

  #contentLength(bytes: Uint8Array, from: number, end: number): void {
    let at = from;
    while (at < end && (bytes[at] === SPACE || bytes[at] === 9)) at += 1;
    const first = at;
    let value = 0;
    while (at < end && isDigit(bytes[at] as number)) {
      value = value * 10 + (bytes[at] as number) - 0x30;
      at += 1;
    }
    const digits = at - first;
    while (at < end && (bytes[at] === SPACE || bytes[at] === 9)) at += 1;
    if (at === end && digits > 0 && digits <= 15 && this.content_length < 0) this.content_length = value;
  }
}
