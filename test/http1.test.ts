import { describe, expect, test } from 'vitest';
import type { Row } from './batch-rows.ts';
import { TestSocket } from './frames.ts';
import type { SocketOptions } from './frames.ts';
import { frames, project, run } from './run-frames.ts';
import type { Step } from './run-frames.ts';

/** Every step that moves bytes, split in two at every position; and all of them byte by byte. */
function* splits(steps: readonly Step[]): Generator<readonly Step[]> {
  yield steps;
  for (const [at, step] of steps.entries()) {
    if (step[0] !== '<' && step[0] !== '>') continue;
    for (let cut = 1; cut < step[1].length; cut += 1) yield [...steps.slice(0, at), [step[0], step[1].slice(0, cut)], [step[0], step[1].slice(cut)], ...steps.slice(at + 1)];
  }
  yield steps.flatMap((step) => (step[0] === '<' || step[0] === '>' ? Array.from(step[1], (byte): Step => [step[0], byte]) : [step]));
}

const request = (no: number, path: string, from: number, length: number, values: object = {}): object => ({
  kind: 'request', direction: 'in', exchange_no: no, protocol: 'http', method: 'GET', path, status: null, stream_offset: from, end_offset: from + length, head_bytes: length, end_reason: 'no_body', complete: true, ...values,
});
const response = (no: number, status: number, from: number, head: number, body: number, values: object = {}): object => ({
  kind: 'response', direction: 'out', exchange_no: no, protocol: 'http', method: null, path: null, status, stream_offset: from, end_offset: from + head + body, head_bytes: head, end_reason: 'length', complete: true, ...values,
});

const GET = 'GET /a?secret=1 HTTP/1.1\r\nHost: example\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const OK_HEAD = OK.length - 5;
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: example\r\n\r\n`;
const post = (body: string, more = ''): string => `POST /p HTTP/1.1\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;
const POSTED = post('').length + 1;
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const UNSENT = 'POST /u HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n';

const CASES: Record<string, { steps: readonly Step[]; expected: readonly object[]; split?: false }> = {
  'one request, one response': {
    steps: [['accept'], ['<', GET], ['>', OK], ['close']],
    expected: [request(0, '/a', 0, GET.length), response(0, 200, 0, OK_HEAD, 5)],
  },
  'kept alive: each exchange its number': {
    steps: [['accept'], ['<', GET], ['>', OK], ['<', get('/b')], ['>', OK]],
    expected: [request(0, '/a', 0, GET.length), response(0, 200, 0, OK_HEAD, 5), request(1, '/b', GET.length, get('/b').length), response(1, 200, OK.length, OK_HEAD, 5)],
  },
  'three requests in one read, answered in order': {
    steps: [['accept'], ['<', GET + get('/b') + get('/c')], ['>', OK], ['>', OK + OK]],
    expected: [
      request(0, '/a', 0, GET.length), response(0, 200, 0, OK_HEAD, 5),
      request(1, '/b', GET.length, get('/b').length), response(1, 200, OK.length, OK_HEAD, 5),
      request(2, '/c', GET.length + get('/b').length, get('/c').length), response(2, 200, OK.length * 2, OK_HEAD, 5),
    ],
  },
  'a body by content-length, then the next request in the same read': {
    steps: [['accept'], ['<', post('12345678') + GET], ['>', OK + OK]],
    expected: [
      request(0, '/p', 0, POSTED - 1, { method: 'POST', end_offset: POSTED - 1 + 8, end_reason: 'length' }), response(0, 200, 0, OK_HEAD, 5),
      request(1, '/a', POSTED - 1 + 8, GET.length), response(1, 200, OK.length, OK_HEAD, 5),
    ],
  },
  'content-length 0 on both sides': {
    steps: [['accept'], ['<', post('')], ['>', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n']],
    expected: [request(0, '/p', 0, post('').length, { method: 'POST', end_reason: 'length' }), response(0, 200, 0, 38, 0)],
  },
  'chunked response with extension and trailer, then another': {
    steps: [['accept'], ['<', GET], ['>', `${CHUNKED}5;x=y\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\n`], ['<', GET], ['>', OK]],
    expected: [
      request(0, '/a', 0, GET.length), response(0, 200, 0, CHUNKED.length, 14 + 32 + 3 + 10 + 2, { end_reason: 'chunked' }),
      request(1, '/a', GET.length, GET.length), response(1, 200, CHUNKED.length + 61, OK_HEAD, 5),
    ],
  },
  'chunked request': {
    steps: [['accept'], ['<', 'POST /c HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'], ['>', OK]],
    expected: [request(0, '/c', 0, 54, { method: 'POST', end_offset: 54 + 13, end_reason: 'chunked' }), response(0, 200, 0, OK_HEAD, 5)],
  },
  'until close: HTTP/1.0 without a length': {
    steps: [['accept'], ['<', 'GET /old HTTP/1.0\r\n\r\n'], ['>', 'HTTP/1.0 200 OK\r\n\r\n'], ['>', 'some text'], ['close']],
    expected: [request(0, '/old', 0, 21), response(0, 200, 0, 19, 9, { end_reason: 'close' })],
  },
  'HEAD has no body whatever its length says': {
    steps: [['accept'], ['<', 'HEAD /h HTTP/1.1\r\n\r\n'], ['>', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n'], ['<', GET], ['>', OK]],
    expected: [
      request(0, '/h', 0, 20, { method: 'HEAD' }), response(0, 200, 0, 41, 0, { end_reason: 'no_body' }),
      request(1, '/a', 20, GET.length), response(1, 200, 41, OK_HEAD, 5),
    ],
  },
  '204 and 304 have no body': {
    steps: [['accept'], ['<', GET], ['>', 'HTTP/1.1 204 No Content\r\n\r\n'], ['<', GET], ['>', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n']],
    expected: [
      request(0, '/a', 0, GET.length), response(0, 204, 0, 27, 0, { end_reason: 'no_body' }),
      request(1, '/a', GET.length, GET.length), response(1, 304, 27, 48, 0, { end_reason: 'no_body' }),
    ],
  },
  '100-continue: the interim response is not the response': {
    steps: [['accept'], ['<', post('12345', 'Expect: 100-continue\r\n').slice(0, -5)], ['>', 'HTTP/1.1 100 Continue\r\n\r\n'], ['<', '12345'], ['>', OK]],
    expected: [
      request(0, '/p', 0, POSTED - 1 + 22, { method: 'POST', end_offset: POSTED - 1 + 22 + 5, end_reason: 'length' }),
      response(0, 200, 25, OK_HEAD, 5),
    ],
  },
  '100-continue refused: the body never comes, the next request does': {
    steps: [['accept'], ['<', post('12345', 'Expect: 100-continue\r\n').slice(0, -5)], ['>', 'HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n'], ['<', GET], ['>', OK]],
    expected: [
      request(0, '/p', 0, POSTED - 1 + 22, { method: 'POST', end_reason: 'next' }), response(0, 417, 0, 38, 0),
      request(1, '/a', POSTED - 1 + 22, GET.length), response(1, 200, 38, OK_HEAD, 5),
    ],
    split: false, // a next request whose method has not come yet cannot be told from a body
  },
  '100-continue refused, where the body would have come in chunks': {
    steps: [['accept'], ['<', UNSENT], ['>', 'HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n'], ['<', GET], ['>', OK], ['<', get('/b')], ['>', OK]],
    expected: [
      request(0, '/u', 0, UNSENT.length, { method: 'POST', end_reason: 'next' }), response(0, 401, 0, 38, 0),
      request(1, '/a', UNSENT.length, GET.length), response(1, 200, 38, OK_HEAD, 5),
      request(2, '/b', UNSENT.length + GET.length, get('/b').length), response(2, 200, 38 + OK.length, OK_HEAD, 5),
    ],
    split: false,
  },
  'answered before the request body ended': {
    steps: [['accept'], ['<', post('1234567890').slice(0, -6)], ['>', OK], ['<', '567890'], ['<', GET], ['>', OK]],
    expected: [
      request(0, '/p', 0, POSTED, { method: 'POST', end_offset: POSTED + 10, end_reason: 'length' }), response(0, 200, 0, OK_HEAD, 5),
      request(1, '/a', POSTED + 10, GET.length), response(1, 200, OK.length, OK_HEAD, 5),
    ],
  },
  'answered and closed before the request body ended': {
    steps: [['accept'], ['<', post('1234567890').slice(0, -6)], ['>', OK], ['close']],
    expected: [request(0, '/p', 0, POSTED, { method: 'POST', end_offset: POSTED + 4, end_reason: 'close', complete: false }), response(0, 200, 0, OK_HEAD, 5)],
  },
  'Upgrade: what follows 101 is opaque': {
    steps: [['accept'], ['<', 'GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n'], ['>', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'], ['<', '\x81\x05ping!'], ['>', '\x81\x05pong!'], ['close']],
    expected: [
      request(0, '/ws', 0, 40), response(0, 101, 0, 36, 0, { end_reason: 'no_body' }),
      request(1, '', 40, 8, { protocol: null, method: null, path: null, head_bytes: 0, end_reason: 'next' }),
      response(1, 0, 36, 0, 8, { protocol: null, status: null, end_reason: 'close' }),
    ],
  },
  'CONNECT: a tunnel after 200': {
    steps: [['accept'], ['<', 'CONNECT db:5432 HTTP/1.1\r\n\r\n'], ['>', 'HTTP/1.1 200 OK\r\n\r\n'], ['<', '\x16\x03\x01hello'], ['>', '\x16\x03\x03hello'], ['close']],
    expected: [
      request(0, '', 0, 28, { method: 'CONNECT', path: null }), response(0, 200, 0, 19, 0, { end_reason: 'no_body' }),
      request(1, '', 28, 8, { protocol: null, method: null, path: null, head_bytes: 0, end_reason: 'next' }),
      response(1, 0, 19, 0, 8, { protocol: null, status: null, end_reason: 'close' }),
    ],
  },
  'CONNECT refused: HTTP goes on': {
    steps: [['accept'], ['<', 'CONNECT db:5432 HTTP/1.1\r\n\r\n'], ['>', 'HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n'], ['<', GET], ['>', OK]],
    expected: [
      request(0, '', 0, 28, { method: 'CONNECT', path: null }), response(0, 403, 0, 38, 0),
      request(1, '/a', 28, GET.length), response(1, 200, 38, OK_HEAD, 5),
    ],
  },
  'a reset in mid-response': {
    steps: [['accept'], ['<', GET], ['>', OK.slice(0, -3)], ['reset']],
    expected: [request(0, '/a', 0, GET.length), response(0, 200, 0, OK_HEAD, 2, { end_reason: 'reset', complete: false })],
  },
  'the run ends in mid-response': {
    steps: [['accept'], ['<', GET], ['>', OK.slice(0, -3)]],
    expected: [request(0, '/a', 0, GET.length), response(0, 200, 0, OK_HEAD, 2, { end_reason: 'stop', complete: false })],
  },
  'closed before the head was whole': {
    steps: [['accept'], ['<', 'GET /half HTTP/1.1\r\nHos'], ['eof'], ['close']],
    expected: [request(0, '', 0, 23, { method: null, path: null, end_reason: 'close', complete: false })],
  },
  'an error answer to a head that is not whole': {
    steps: [['accept'], ['<', 'GET /slow HTTP/1.1\r\nHos'], ['>', 'HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n'], ['close']],
    expected: [request(0, '', 0, 23, { method: null, path: null, end_reason: 'close', complete: false }), response(0, 408, 0, 43, 0)],
  },
  'a response that nobody asked for': {
    steps: [['accept'], ['>', 'HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n'], ['close']],
    expected: [response(-1, 408, 0, 43, 0)],
  },
  'empty lines between requests, line feeds alone, absolute target': {
    steps: [['accept'], ['<', 'GET http://user:pw@example/x/y?q HTTP/1.1\nHost: h\n\n'], ['>', OK], ['<', `\r\n${GET}`], ['>', OK]],
    expected: [
      request(0, '/x/y', 0, 51), response(0, 200, 0, OK_HEAD, 5),
      request(1, '/a', 53, GET.length), response(1, 200, OK.length, OK_HEAD, 5),
    ],
  },
  'unknown bytes: messages by change of direction': {
    steps: [['accept'], ['<', '*1\r\n$4\r\nPING\r\n'], ['>', '+PONG\r\n'], ['<', '*1\r\n$4\r\nQUIT\r\n'], ['>', '+OK\r\n'], ['close']],
    expected: [
      request(0, '', 0, 14, { protocol: null, method: null, path: null, head_bytes: 0, end_reason: 'next' }), response(0, 0, 0, 0, 7, { protocol: null, status: null, end_reason: 'next' }),
      request(1, '', 14, 14, { protocol: null, method: null, path: null, head_bytes: 0, end_reason: 'next' }), response(1, 0, 7, 0, 5, { protocol: null, status: null, end_reason: 'close' }),
    ],
  },
  'a server that speaks first': {
    steps: [['accept'], ['>', '220 mail\r\n'], ['<', 'HELO me\r\n'], ['>', '250 ok\r\n'], ['close']],
    expected: [
      response(-1, 0, 0, 0, 10, { protocol: null, status: null, end_reason: 'next' }),
      request(0, '', 0, 9, { protocol: null, method: null, path: null, head_bytes: 0, end_reason: 'next' }), response(0, 0, 10, 0, 8, { protocol: null, status: null, end_reason: 'close' }),
    ],
  },
};

describe.each(Object.entries(CASES))('%s', (_name, { steps, expected, split }) => {
  const sorted = project(expected as Row[]);
  const server: SocketOptions = { budget: 4096 };
  test('as it is', () => {
    expect(project(run(frames(new TestSocket(server), steps)).messages)).toEqual(sorted);
  });
  if (split === false) return;
  test('split at every position', () => {
    for (const variant of splits(steps)) expect(project(run(frames(new TestSocket(server), variant)).messages), JSON.stringify(variant)).toEqual(sorted);
  });
  test('seen from the client', () => {
    const mirrored = steps.map((step): Step => (step[0] === '<' ? ['>', step[1]] : step[0] === '>' ? ['<', step[1]] : step[0] === 'accept' ? ['connect'] : step));
    const turned = sorted.map((row) => ({ ...row, direction: row['direction'] === 'in' ? 'out' : 'in' }));
    const withoutEof = mirrored.filter((step) => step[0] !== 'eof');
    expect(project(run(frames(new TestSocket({ ...server, role: 1 }), withoutEof)).messages)).toEqual(turned);
  });
});
