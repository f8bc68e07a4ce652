import { describe, expect, test } from 'vitest';
import { EVENT_FLAGS } from '../schema/records.ts';
import { TestSocket } from './frames.ts';
import { frames, run } from './run-frames.ts';
import type { Step } from './run-frames.ts';

const payloads = (steps: readonly Step[], options: ConstructorParameters<typeof TestSocket>[0] = {}, keep_query = false): string[] =>
  run(frames(new TestSocket({ budget: 4096, ...options }), steps), { keep_payload: true, keep_query }).events.map((row) => String(row['payload'] ?? ''));

const REQUEST = 'GET /a?token=SECRET1 HTTP/1.1\r\nHost: h\r\nCOOKIE: a=SECRET2\r\nauthorization:Bearer SECRET3\r\n SECRET4 folded\r\nReferer: http://x/y?q=SECRET5\r\nX-Plain: shown\r\n\r\n';
const BLANKED = 'GET /a?************* HTTP/1.1\r\nHost: h\r\nCOOKIE: *********\r\nauthorization:****** *******\r\n ******* ******\r\nReferer: http://x/y?*********\r\nX-Plain: shown\r\n\r\n';
const RESPONSE = 'HTTP/1.1 302 Found\r\nSet-Cookie: id=SECRET6; Path=/\r\nLocation: /b?SECRET7\r\nContent-Length: 4\r\n\r\nbody';
const RESPONSE_BLANKED = 'HTTP/1.1 302 Found\r\nSet-Cookie: *********** ******\r\nLocation: /b?*******\r\nContent-Length: 4\r\n\r\nbody';

test('payload is kept with its secrets blanked, nothing else altered', () => {
  expect(payloads([['accept'], ['<', REQUEST], ['>', RESPONSE]])).toEqual(['', BLANKED, RESPONSE_BLANKED]);
});

test('wherever the calls split them', () => {
  const both = REQUEST + REQUEST;
  for (let cut = 1; cut < both.length; cut += 1) {
    const joined = payloads([['accept'], ['<', both.slice(0, cut)], ['<', both.slice(cut)]]).join('');
    // A call that ends in a host may end in the name of a user.
    if (both.startsWith('/y', cut)) expect(joined.replace('//*/', '//x/')).toBe(BLANKED + BLANKED);
    else expect(joined).toBe(BLANKED + BLANKED);
  }
});

describe('URLs', () => {
  const ASKED = 'GET http://user:SECRET1@h/a HTTP/1.1\r\nReferer: http://u:SE@CRET2@h:80/@b\r\nX-Plain: http://c@d\r\n\r\n';
  const ASKED_BLANKED = 'GET http://************@h/a HTTP/1.1\r\nReferer: http://****@*****@h:80/@b\r\nX-Plain: http://c@d\r\n\r\n';
  const ANSWER = 'HTTP/1.1 302 F\r\nLink: <https://x/r?token=SECRET3&page=2>; rel="next", <https://x/r?token=SECRET4>; rel="last"\r\nLocation: https://x/cb#token=SECRET5\r\nContent-Length: 0\r\n\r\n';
  const ANSWER_BLANKED = 'HTTP/1.1 302 F\r\nLink: <https://x/r?********************** rel="next", <https://x/r?*************** rel="last"\r\nLocation: https://x/cb#*************\r\nContent-Length: 0\r\n\r\n';

  test('every query of a field, fragments, and who asks', () => {
    expect(payloads([['accept'], ['<', ASKED], ['>', ANSWER]])).toEqual(['', ASKED_BLANKED, ANSWER_BLANKED]);
  });

  test('with query strings only who asks', () => {
    expect(payloads([['accept'], ['<', ASKED], ['>', ANSWER]], {}, true)).toEqual(['', ASKED_BLANKED, ANSWER]);
  });

  test('wherever the calls split them; a host that is not whole is blanked with what may precede it', () => {
    for (const [text, blanked] of [[ASKED, ASKED_BLANKED], [ANSWER, ANSWER_BLANKED]] as const) {
      const direction = text === ASKED ? '<' : '>';
      for (let cut = 1; cut < text.length; cut += 1) {
        const joined = payloads([['accept'], ...(direction === '>' ? [['<', ASKED] as Step] : []), [direction, text.slice(0, cut)], [direction, text.slice(cut)]]).slice(-2).join('');
        expect(joined).not.toContain('SECRET');
        expect(joined.length).toBe(text.length);
        for (let at = 0; at < text.length; at += 1) {
          // Only what lies between the slashes and the cut.
          const in_host = at < cut && /:\/\/[^/?#\s]*$/.test(text.slice(0, cut)) && !text.slice(at, cut).includes('/');
          if (!in_host) expect([cut, at, joined[at]]).toEqual([cut, at, blanked[at]]);
        }
      }
    }
  });

  test('a host is none as long as it may be the name of a user', () => {
    const host = (budget: number, text: string): unknown => run(frames(new TestSocket({ budget }), [['accept'], ['<', text], ['>', RESPONSE]])).messages[0]?.['host'];
    const text = `GET http://user:SECRET@example.org/a HTTP/1.1\r\nCookie: ${'c'.repeat(300)}\r\n\r\n`;
    for (let budget = 'GET http:/'.length; budget <= text.indexOf('/a'); budget += 1) expect(host(budget, text)).toBe(null);
    expect(host(text.indexOf('/a') + 1, text)).toBe('example.org');
    expect(host(4096, 'GET http://user:SECRET@example.org HTTP/1.1\r\n\r\n')).toBe('example.org');
  });
});

test.each(['body', 'a: b'])('a request that follows a body without a line end: %s', (body) => {
  const post = `POST /p HTTP/1.1\r\nContent-Length: 4\r\n\r\n${body}`;
  expect(payloads([['accept'], ['<', post + REQUEST], ['>', RESPONSE + RESPONSE]])).toEqual(['', post + BLANKED, RESPONSE_BLANKED + RESPONSE_BLANKED]);
});

test('every part of a query, and a field whose name is followed by a space', () => {
  const query = 'b=SECRET1&c=SECRET2;d=SECRET3#e';
  expect(payloads([['accept'], ['<', `GET /a?${query} HTTP/1.1\r\nCookie : SECRET4\r\n\r\n`]])).toEqual(['', `GET /a?${'*'.repeat(query.length)} HTTP/1.1\r\nCookie : *******\r\n\r\n`]);
});

test('after bytes that were not captured, up to the end of the line', () => {
  const [, first, second] = payloads([['accept'], ['<', `${REQUEST.slice(0, -2)}Cookie: ${'c'.repeat(50)}`], ['<', 'SECRET8\r\nX-Plain: shown\r\n\r\n']], { budget: REQUEST.length + 10 });
  expect(first).not.toContain('SECRET');
  expect(second).not.toContain('SECRET');
  const cut = payloads([['<', 'SECRET9; more=SECRET10\r\nX-Plain: shown\r\n']], { flags: 4, sent: 100, received: 100 });
  expect(cut).toEqual(['******** *************\r\nX-Plain: shown\r\n']);
  // A Unix socket that is older than the collector: its offsets count from the first event.
  const unix = { flags: EVENT_FLAGS.preexisting | EVENT_FLAGS.relative_offset };
  expect(payloads([['<', 'SECRET11; more=SECRET12\r\nX-Plain: shown\r\n'], ['>', RESPONSE]], unix)).toEqual(['********* *************\r\nX-Plain: shown\r\n', RESPONSE_BLANKED]);
  expect(payloads([['<', REQUEST]], unix)).toEqual([BLANKED]);
});

test('protocols that nobody understood are read by line as well', () => {
  expect(payloads([['accept'], ['<', 'hello\r\nAuthorization: Basic SECRET\r\n\r\n']])).toEqual(['', 'hello\r\nAuthorization: ***** ******\r\n\r\n']);
});

test('query strings stay where they are asked for, cookies do not', () => {
  const [, kept] = payloads([['accept'], ['<', REQUEST]], {}, true);
  expect(kept).toContain('/a?token=SECRET1');
  expect(kept).not.toContain('SECRET2');
  expect(run(frames(new TestSocket(), [['accept'], ['<', REQUEST]]), { keep_query: true }).messages[0]?.['path']).toBe('/a?token=SECRET1');
});

test('without being asked for, no payload leaves, and what was captured stays told', () => {
  const { events } = run(frames(new TestSocket({ budget: 100 }), [['accept'], ['<', REQUEST], ['>', 'HTTP/1.1 204 N\r\n\r\n']]));
  expect(events.map((row) => [row['payload'], row['payload_truncated'], row['flags']])).toEqual([[null, false, 0], [null, true, 1], [null, false, 0]]);
});

test('keys and tokens in headers of their own, without being named', () => {
  const { events } = run(frames(new TestSocket({ budget: 4096 }), [['accept'], ['<', 'GET /a HTTP/1.1\r\nX-API-Key: SECRET1\r\nprivate-token: SECRET2\r\nX-Amz-Security-Token: SECRET3\r\nX-Api-Version: 3\r\n\r\n']]), { keep_payload: true });
  expect(String(events[1]?.['payload'])).toBe('GET /a HTTP/1.1\r\nX-API-Key: *******\r\nprivate-token: *******\r\nX-Amz-Security-Token: *******\r\nX-Api-Version: 3\r\n\r\n');
});

test('more headers where they are named, whatever their length', () => {
  const long = `X-${'Long-'.repeat(12)}Secret`;
  const { events } = run(frames(new TestSocket({ budget: 4096 }), [['accept'], ['<', `GET /a HTTP/1.1\r\nX-Shop-Secret: SECRET1\r\n${long}: SECRET2\r\nX-Plain: shown\r\n\r\n`]]), { keep_payload: true, redact_headers: ['x-shop-secret', long] });
  expect(String(events[1]?.['payload'])).toBe(`GET /a HTTP/1.1\r\nX-Shop-Secret: *******\r\n${long}: *******\r\nX-Plain: shown\r\n\r\n`);
});

test('parts of paths that are named are stored nowhere: not in messages, not in payload', () => {
  const { events, messages } = run(frames(new TestSocket({ budget: 4096 }), [['accept'], ['<', 'GET /users/jane@example.org/orders/7 HTTP/1.1\r\nReferer: /users/jane\r\n\r\n'], ['>', 'HTTP/1.1 204 N\r\n\r\n']]), { keep_payload: true, redact_paths: [/[\w.]+@[\w.]+/gu, /(?<=orders\/)\d+/gu] });
  expect(messages[0]?.['path']).toBe('/users/{redacted}/orders/{redacted}');
  expect(String(events[1]?.['payload'])).toBe(`GET ${'*'.repeat('/users/jane@example.org/orders/7'.length)} HTTP/1.1\r\nReferer: ${'*'.repeat('/users/jane'.length)}\r\n\r\n`);
  expect(JSON.stringify([events, messages], (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))).not.toContain('jane');
});
