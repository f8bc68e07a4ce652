// The heads and bodies of messages: what real clients and servers of each kind say, every request with an id of its own.
import type { Random } from './random.ts';

export const MOST_HEAD = 1024;
const ID_DIGITS = 16;
const BODY_BYTES = 1 << 16;
const HEX = new TextEncoder().encode('0123456789abcdef');
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

/** One operation of a service: what stands before the id in its requests, and after it. */
export interface Route {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** Path before the id and after it. */
  readonly path_before: string;
  readonly path_after: string;
  readonly has_body: boolean;
}

const AGENTS = ['python-requests/2.32.3', 'Go-http-client/1.1', 'node', 'Java-http-client/21.0.4', 'axios/1.7.7', 'okhttp/4.12.0'] as const;

export function makeRoutes(service: string, host: string, random: Random): Route[] {
  const nouns = ['items', 'orders', 'quotes', 'accounts', 'carts', 'prices', 'users', 'stock'];
  return Array.from({ length: 4 }, (_, at): Route => {
    const [path_before, path_after] = [`/${service}/${nouns[(random.index(nouns.length) + at) % nouns.length]}/`, at % 2 === 0 ? '' : `/v${at}`];
    const has_body = at === 3;
    const agent = AGENTS[random.index(AGENTS.length)];
    return {
      before: encode(`${has_body ? 'POST' : 'GET'} ${path_before}`),
      after: encode(`${path_after} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: ${agent}\r\nAccept: */*\r\n`),
      path_before, path_after, has_body,
    };
  });
}

/** Two words as sixteen hexadecimal digits. */
function writeId(into: Uint8Array, at: number, high: number, low: number): void {
  for (let digit = 0; digit < 8; digit += 1) {
    into[at + digit] = HEX[(high >>> (28 - digit * 4)) & 15] as number;
    into[at + 8 + digit] = HEX[(low >>> (28 - digit * 4)) & 15] as number;
  }
}

const LENGTH = encode('Content-Type: application/json\r\nContent-Length: ');
const COOKIE = encode('Cookie: session=');
const END = encode('\r\n\r\n');

function writeNumber(into: Uint8Array, at: number, value: number): number {
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits += 1;
  for (let place = digits - 1, rest = value; place >= 0; place -= 1, rest = Math.floor(rest / 10)) into[at + place] = 48 + (rest % 10);
  return at + digits;
}

export class HttpText {
  /** JSON-like text; bodies are cut out of it. */
  readonly body: Uint8Array;
  readonly #random: Random;
  readonly #answers: readonly Uint8Array[];

  constructor(random: Random) {
    this.#random = random;
    let text = '';
    while (text.length < BODY_BYTES * 2) text += `{"id":"${(random.word() >>> 0).toString(16)}","amount":${random.index(100_000)},"note":"${(random.word() >>> 0).toString(36)}"},`;
    this.body = encode(text).subarray(0, BODY_BYTES * 2);
    this.#answers = ['200 OK', '404 Not Found', '500 Internal Server Error', '503 Service Unavailable'].map((status) =>
      encode(`HTTP/1.1 ${status}\r\nDate: Thu, 26 Nov 2026 18:34:27 GMT\r\nServer: svc/2.4\r\nContent-Type: application/json\r\nContent-Length: `),
    );
  }

  bodyAt(): number {
    return this.#random.index(BODY_BYTES);
  }

  /** Length of the head. */
  request(into: Uint8Array, route: Route, high: number, low: number, body: number): number {
    into.set(route.before, 0);
    let at = route.before.length;
    writeId(into, at, high, low);
    at += ID_DIGITS;
    into.set(route.after, at);
    at += route.after.length;
    if (this.#random.chance(0.02)) {
      // Longer than what is captured of a call.
      into.set(COOKIE, at);
      at += COOKIE.length;
      const length = 150 + this.#random.index(200);
      const from = this.bodyAt();
      for (let i = 0; i < length; i += 1) into[at + i] = HEX[(this.body[from + i] as number) & 15] as number;
      at += length;
      into[at] = 13;
      into[at + 1] = 10;
      at += 2;
    }
    if (body > 0) {
      into.set(LENGTH, at);
      at = writeNumber(into, at + LENGTH.length, body);
      into.set(END, at);
      return at + 4;
    }
    into[at] = 13;
    into[at + 1] = 10;
    return at + 2;
  }

  /** Length of the head; failed: 1 to 3, which way. */
  response(into: Uint8Array, failed: number, body: number): number {
    const text = this.#answers[failed] as Uint8Array;
    into.set(text, 0);
    const at = writeNumber(into, text.length, body);
    into.set(END, at);
    return at + 4;
  }
}

export const idText = (high: number, low: number): string => (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0');
