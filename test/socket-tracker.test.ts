import { describe, expect, test } from 'vitest';
import { BatchAssembler } from '../ingest/batch-assembler.ts';
import type { Batch } from '../ingest/batch.ts';
import { allRows, rowsOf } from './batch-rows.ts';
import { TestSocket, UTC_ZERO, frame, runStart } from './frames.ts';
import { frames, project, run } from './run-frames.ts';
import type { Step } from './run-frames.ts';

const GET = 'GET /a HTTP/1.1\r\nHost: example\r\n\r\n';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const brief = (rows: Parameters<typeof project>[0]): string[] =>
  project(rows).map((row) => `${row['kind']} ${row['exchange_no']} ${row['path'] ?? row['status'] ?? '-'} ${row['stream_offset']}..${row['end_offset']} ${row['end_reason']} ${row['complete'] === true ? 'complete' : 'incomplete'}`);

describe('tasks', () => {
  const told = (parts: Buffer[]): unknown[] => run(parts).messages.map((row) => [row['kind'], row['task_id'], row['parent_task_id']]);

  test("a message's is that of its first byte, and of its second where one byte was read ahead", () => {
    const socket = new TestSocket();
    expect(
      told([
        socket.read(GET, { task_id: 7n, parent_task_id: 1n }),
        socket.write(OK, { task_id: 7n, parent_task_id: 1n }),
        socket.read('G', { task_id: 9n, parent_task_id: 7n }),
        socket.read(GET.slice(1, 10), { task_id: 7n, parent_task_id: 1n }),
        socket.read(GET.slice(10), { task_id: 11n, parent_task_id: 1n }),
        socket.write(OK.slice(0, 1), { task_id: 12n, parent_task_id: 7n }),
        socket.write(OK.slice(1), { task_id: 7n, parent_task_id: 1n }),
      ]),
    ).toEqual([['request', 7n, 1n], ['response', 7n, 1n], ['request', 7n, 1n], ['response', 12n, 7n]]);
  });

  test('none is no value', () => {
    const socket = new TestSocket();
    expect(told([socket.read(GET), socket.write(OK)])).toEqual([['request', null, null], ['response', null, null]]);
  });
});

describe('beyond the captured bytes', () => {
  test('a body needs none of them', () => {
    const socket = new TestSocket({ budget: 64 });
    const { messages, losses } = run(frames(socket, [['accept'], ['<', GET], ['>', `HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(400)}`], ['>', 'y'.repeat(999_600)], ['<', GET], ['>', OK]]));
    expect(brief(messages)).toEqual(['request 0 /a 0..34 no_body complete', 'response 0 200 0..1000044 length complete', 'request 1 /a 34..68 no_body complete', 'response 1 200 1000044..1000087 length complete']);
    expect(losses).toEqual([]);
  });

  test.each([
    ['in the last call', ['x'.repeat(300), `${'y'.repeat(100)}\r\n0\r\n\r\n`]],
    ['as a call of its own', ['x'.repeat(300), 'yyyy\r\n', '0\r\n\r\n']],
    ['in pieces', [`${'x'.repeat(300)}\r`, '\n0', '\r\n\r', '\n']],
  ])('a chunked body ends by the last bytes %s', (_how, parts) => {
    const socket = new TestSocket({ budget: 64 });
    const total = parts.join('').length;
    const chunks = [...frames(socket, [['accept'], ['<', GET]]), socket.write(`${CHUNKED}100000\r\nabc`), ...parts.map((part) => socket.write(part)), ...frames(socket, [['<', GET], ['>', OK]])];
    // 0x100000 bytes are announced, fewer come: only what lies beyond a lost size may end the body early.
    expect(brief(run(chunks).messages).at(1)).toMatch(/^response 0 200 0\.\.\d+ (next|stop)/);
    const lost = new TestSocket({ budget: 50 });
    const again = [...frames(lost, [['accept'], ['<', GET]]), lost.write(`${CHUNKED}10\r\nabc`), ...parts.map((part) => lost.write(part)), ...frames(lost, [['<', GET], ['>', OK]])];
    const head = CHUNKED.length + 7 + total;
    expect(brief(run(again).messages)).toEqual([
      'request 0 /a 0..34 no_body complete', `response 0 200 0..${head} chunked complete`,
      'request 1 /a 34..68 no_body complete', `response 1 200 ${head}..${head + OK.length} length complete`,
    ]);
  });

  test('a head that is cut: what is there counts, the answer ends it, one loss tells', () => {
    const socket = new TestSocket({ budget: 40 });
    const long = `POST /long HTTP/1.1\r\nCookie: ${'c'.repeat(200)}\r\nContent-Length: 3\r\n\r\nabc`;
    const { messages, losses } = run(frames(socket, [['accept'], ['<', long], ['<', 'more'], ['>', OK.slice(0, 40)], ['>', OK.slice(40)], ['<', GET], ['>', OK]]));
    expect(brief(messages)).toEqual([
      `request 0 /long 0..${long.length + 4} next incomplete`, 'response 0 200 0..43 length complete',
      `request 1 /a ${long.length + 4}..${long.length + 4 + GET.length} no_body complete`, 'response 1 200 43..86 length complete',
    ]);
    expect(losses).toMatchObject([{ cause: 'parser_gap', events_lost: 1n, cpu: null }]);
  });

  test('an answer whose head is cut is told before it is known to have ended', () => {
    const batches: Batch[] = [];
    const assembler = new BatchAssembler({ node: 'n', keep_payload: false, keep_query: false, on_batch: (batch) => batches.push(batch), now_ms: 0 });
    const socket = new TestSocket({ budget: 60 });
    const long = `HTTP/1.1 200 OK\r\nSet-Cookie: ${'c'.repeat(200)}\r\nContent-Length: 5\r\n\r\nhello`;
    for (const chunk of [runStart(), ...frames(socket, [['accept'], ['<', GET], ['>', long]]), frame('watermark', { mono_ns: 200_000_000n })]) assembler.push(chunk);
    assembler.tick(300);
    const told = (): unknown[][] => allRows(batches, 'messages').map((row) => [row['kind'], row['partial'], row['complete'], row['end_reason'], row['status']]);
    expect(told()).toEqual([['request', false, true, 'no_body', null], ['response', true, false, 'open', 200]]);
    for (const chunk of frames(socket, [['<', GET]])) assembler.push(chunk);
    assembler.push(frame('bye'));
    expect(told().slice(2)).toEqual([['response', false, false, 'next', 200], ['request', false, true, 'no_body', null]]);
  });

  test('a head that is cut but seen to end with its call needs no change of direction', () => {
    const socket = new TestSocket({ budget: 30 });
    const long = `GET /long HTTP/1.1\r\nCookie: ${'c'.repeat(200)}\r\n\r\n`;
    const { messages, batches } = run(frames(socket, [['accept'], ['<', long]]));
    expect(brief(messages)).toEqual([`request 0 /long 0..${long.length} no_body incomplete`]);
    expect(batches[0]?.tables.messages.rows).toBe(1);
  });

  test('a head with nothing captured is a message all the same, and the socket is followed', () => {
    const socket = new TestSocket({ budget: 40 });
    const { messages, followed } = run([...frames(socket, [['accept'], ['<', GET]]), socket.write(OK), socket.read(GET, { payload_length: 0, payload: undefined, flags: 33 }), socket.write(OK), ...frames(socket, [['<', GET], ['>', OK]])]);
    expect(brief(messages)).toEqual([
      'request 0 /a 0..34 no_body complete', 'response 0 200 0..43 length complete',
      'request 1 - 34..68 next incomplete', 'response 1 200 43..86 length complete',
      'request 2 /a 68..102 no_body complete', 'response 2 200 86..129 length complete',
    ]);
    expect(followed).toEqual([77n]);
  });

  test('a connection whose first bytes were shed is not whole until it is known what it speaks', () => {
    const socket = new TestSocket({ budget: 256 });
    const shed = { payload_length: 0, payload: undefined, flags: 32 };
    const { messages } = run([socket.event('accept'), socket.read(GET, shed), socket.write(OK, shed), ...frames(socket, [['<', GET], ['>', OK]])]);
    expect(brief(messages)).toEqual(['request 0 - 0..34 next incomplete', 'response 0 - 0..43 next incomplete', 'request 1 /a 34..68 no_body complete', 'response 1 200 43..86 length complete']);
  });

  test('pipelining asks for the whole socket, once', () => {
    const socket = new TestSocket({ budget: 4096 });
    expect(run(frames(socket, [['accept'], ['<', GET + GET + GET], ['>', OK + OK + OK], ['<', GET + GET]])).followed).toEqual([77n]);
  });

  test('a followed socket is let go of once it is forgotten, no other is', () => {
    const steps: Step[] = [['accept'], ['<', GET + GET], ['>', OK + OK], ['close']];
    const plain: Step[] = [['accept'], ['<', GET], ['>', OK], ['close']];
    const chunks = [...frames(new TestSocket({ budget: 4096 }), steps), ...frames(new TestSocket({ socket_id: 78n }), plain)];
    expect(run(chunks)).toMatchObject({ followed: [77n], let_go: [] });
    expect(run([...chunks, frame('watermark', { mono_ns: 2_000_000_000n })])).toMatchObject({ followed: [77n], let_go: [77n] });
  });
});

describe('order', () => {
  const moves = (): Buffer[] => {
    const socket = new TestSocket({ role: 1 });
    return [socket.event('connect'), socket.write(GET), socket.read(OK), socket.write(GET), socket.read(OK.slice(0, 20)), socket.read(OK.slice(20)), socket.write(GET), socket.read(OK)];
  };

  test('hooks run after their calls: any order of neighbours gives the same messages', () => {
    const expected = project(run(moves()).messages);
    expect(expected).toHaveLength(6);
    for (let at = 1; at + 1 < 8; at += 1) {
      const chunks = moves();
      [chunks[at], chunks[at + 1]] = [chunks[at + 1] as Buffer, chunks[at] as Buffer];
      expect(project(run(chunks).messages)).toEqual(expected);
    }
    const [connect, ...rest] = moves();
    expect(project(run([connect as Buffer, ...rest.toReversed()]).messages)).toEqual(expected);
  });

  test('both ends wrote at once: neither waits for the other', () => {
    const first = new TestSocket({ role: 1 });
    const connect = first.event('connect');
    const write = first.event('write', { stream_offset: 0n, other_offset: 4n, bytes: 4, payload_length: 4, payload: Buffer.from('ping') });
    const read = first.event('read', { stream_offset: 0n, other_offset: 4n, bytes: 4, payload_length: 4, payload: Buffer.from('pong') });
    const batches: Batch[] = [];
    const assembler = new BatchAssembler({ node: 'n', keep_payload: false, keep_query: false, on_batch: (batch) => batches.push(batch) });
    for (const chunk of [runStart(), connect, write, read]) assembler.push(chunk);
    expect(assembler.counters).toMatchObject({ pending_events: 0, events: 3, forced_events: 0 });
  });

  test('what never comes is waited for until the watermark has passed it by 100 ms, and holds the watermark back', () => {
    const batches: Batch[] = [];
    const assembler = new BatchAssembler({ node: 'n', keep_payload: false, keep_query: false, on_batch: (batch) => batches.push(batch), now_ms: 0 });
    const socket = new TestSocket({}, { ns: 0n });
    const steps = frames(socket, [['accept'], ['<', GET], ['>', OK], ['<', GET], ['>', OK]]);
    for (const [at, chunk] of [runStart(), ...steps].entries()) if (at !== 4) assembler.push(chunk);
    assembler.push(frame('watermark', { mono_ns: 90_000_000n }));
    assembler.tick(300);
    expect(assembler.counters['pending_events']).toBe(1);
    expect(batches.at(-1)?.watermark_ns).toBe(UTC_ZERO + 5000n);
    assembler.push(frame('watermark', { mono_ns: 200_000_000n }));
    assembler.tick(600);
    expect(assembler.counters).toMatchObject({ pending_events: 0, forced_events: 1 });
    expect(batches.at(-1)?.watermark_ns).toBe(UTC_ZERO + 200_000_000n);
    expect(brief(allRows(batches, 'messages'))).toEqual(['response -1 200 43..86 length complete', 'request 0 /a 0..34 no_body complete', 'response 0 200 0..43 length complete']);
    expect(allRows(batches, 'socket_events')).toHaveLength(4);
    expect(allRows(batches, 'losses')).toMatchObject([{ cause: 'parser_gap', events_lost: 1n }]);
  });
});

describe('gaps', () => {
  test('inside a body of known length they are harmless', () => {
    const socket = new TestSocket();
    const chunks = frames(socket, [['accept'], ['<', GET], ['>', `HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(300)}`]]);
    socket.skip('write', 500);
    const { messages, losses } = run([...chunks, ...frames(socket, [['>', 'y'.repeat(200)], ['<', GET], ['>', OK]])]);
    expect(brief(messages)).toEqual(['request 0 /a 0..34 no_body complete', 'response 0 200 0..1041 length complete', 'request 1 /a 34..68 no_body complete', 'response 1 200 1041..1084 length complete']);
    expect(losses).toEqual([]);
  });

  test('over a message end: the message is broken off, the next start line after a change of direction begins anew', () => {
    const socket = new TestSocket();
    const chunks = frames(socket, [['accept'], ['<', GET], ['>', OK.slice(0, 40)]]);
    socket.skip('write', 500);
    const { messages, losses } = run([...chunks, ...frames(socket, [['>', 'HTTP/1.1 is the text of a body'], ['<', GET], ['>', OK]])]);
    expect(brief(messages)).toEqual(['request 0 /a 0..34 no_body complete', 'response 0 200 0..40 gap incomplete', 'request 1 /a 34..68 no_body complete', 'response 1 200 570..613 length complete']);
    expect(losses).toMatchObject([{ cause: 'parser_gap' }]);
  });

  test('a whole exchange lost between two: the pairs stay right', () => {
    const socket = new TestSocket();
    const chunks = frames(socket, [['accept'], ['<', GET], ['>', OK]]);
    socket.skip('read', 100);
    socket.skip('write', 100);
    const { messages } = run([...chunks, ...frames(socket, [['<', GET], ['>', OK]])]);
    expect(brief(messages)).toEqual(['request 0 /a 0..34 no_body complete', 'response 0 200 0..43 length complete', 'request 1 /a 134..168 no_body complete', 'response 1 200 143..186 length complete']);
  });

  test('an answer and the next request lost: what is answered then is not the request before them', () => {
    const socket = new TestSocket();
    const chunks = frames(socket, [['accept'], ['<', GET]]);
    socket.skip('write', 43);
    socket.skip('read', 34);
    const { messages } = run([...chunks, ...frames(socket, [['>', 'HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n'], ['<', GET], ['>', OK]])]);
    expect(brief(messages)).toEqual(['response -1 500 43..81 length complete', 'request 0 /a 0..34 no_body complete', 'request 1 /a 68..102 no_body complete', 'response 1 200 81..124 length complete']);
  });

  test('a lost response leaves its request alone, the next one gets its own', () => {
    const socket = new TestSocket();
    const chunks = frames(socket, [['accept'], ['<', GET]]);
    socket.skip('write', 43);
    const { messages } = run([...chunks, ...frames(socket, [['<', 'GET /b HTTP/1.1\r\n\r\n'], ['>', OK]])]);
    expect(brief(messages)).toEqual(['request 0 /a 0..34 no_body complete', 'request 1 /b 34..53 no_body complete', 'response 1 200 43..86 length complete']);
  });
});

describe('connections', () => {
  test('older than the collector: nothing until a start line, a response first has a negative number', () => {
    const options = { flags: 4, sent: 5000, received: 3000 };
    const request_first = new TestSocket(options);
    expect(brief(run(frames(request_first, [['<', GET], ['>', OK], ['<', GET], ['>', OK]])).messages)).toEqual([
      'request 0 /a 3000..3034 no_body complete', 'response 0 200 5000..5043 length complete', 'request 1 /a 3034..3068 no_body complete', 'response 1 200 5043..5086 length complete',
    ]);
    const response_first = new TestSocket(options);
    expect(brief(run(frames(response_first, [['>', OK], ['<', GET], ['>', OK]])).messages)).toEqual(['response -1 200 5000..5043 length complete', 'request 0 /a 3000..3034 no_body complete', 'response 0 200 5043..5086 length complete']);
    const in_body = new TestSocket(options);
    expect(brief(run(frames(in_body, [['>', '{"rest":"of a body"}'], ['<', GET], ['>', OK]])).messages)).toEqual(['request 0 /a 3000..3034 no_body complete', 'response 0 200 5020..5063 length complete']);
  });

  test('older than the collector and not HTTP: opaque from the next change of direction on', () => {
    const socket = new TestSocket({ flags: 4, sent: 10, received: 10 });
    const { messages } = run(frames(socket, [['<', '\x00\x01'], ['>', '\x02'], ['<', '\x03'], ['>', '\x04']]));
    expect(messages.every((row) => row['protocol'] === null)).toBe(true);
    expect(brief(messages).slice(-2)).toEqual(['request 0 - 12..13 next complete', 'response 0 - 11..12 stop incomplete']);
  });

  test.each([['the server reads it', '<', '>', 'in'], ['the client writes it', '>', '<', 'out']] as const)('of unknown role: the text tells who asks: %s', (_who, ask, answer, direction) => {
    const socket = new TestSocket({ role: 0 });
    const { messages } = run(frames(socket, [[ask, GET], [answer, OK]]));
    expect(messages.map((row) => [row['kind'], row['direction'], row['role'], row['exchange_no']])).toEqual([['request', direction, null, 0n], ['response', direction === 'in' ? 'out' : 'in', null, 0n]]);
  });

  test('the first request carries who called connect, the next one does not', () => {
    const socket = new TestSocket({ role: 1 });
    const { messages } = run([socket.event('connect', { thread_id: 900n, turn: 44n, errno: 115 }), socket.event('state', { old_state: 2, new_state: 1, flags: 8 }), ...frames(socket, [['>', GET], ['<', OK], ['>', GET], ['<', OK]])]);
    expect(messages.map((row) => [row['kind'], row['connect_thread_id'], row['connect_turn'], row['connect_ts_ns']])).toEqual([
      ['request', 900n, 44n, UTC_ZERO + 1_001_000n], ['response', null, null, null], ['request', null, null, null], ['response', null, null, null],
    ]);
  });

  test.each([
    ['refused', { old_state: 2, new_state: 7, errno: 111, flags: 8 }, 'refused', 111],
    ['given up by the application', { old_state: 2, new_state: 7, errno: 0, flags: 8 }, 'close', null],
  ])('a connect that is %s is a message', (_how, state, end_reason, errno) => {
    const socket = new TestSocket({ role: 1 });
    const { messages } = run([socket.event('connect', { thread_id: 900n }), socket.event('state', state), socket.event('close', { old_state: 7, new_state: 7 })]);
    expect(messages).toMatchObject([{ kind: 'connect', direction: 'out', role: 'client', end_reason, errno, exchange_no: 0n, first_thread_id: 900n, last_thread_id: 900n, connect_thread_id: 900n, ts_ns: UTC_ZERO + 1_001_000n, end_ts_ns: UTC_ZERO + 1_002_000n, partial: false }]);
  });

  test('a socket that connects again after a refusal is another connection', () => {
    const socket = new TestSocket({ role: 1 });
    const refused = { old_state: 2, new_state: 7, errno: 111, flags: 8 };
    const { messages } = run([
      socket.event('connect', { thread_id: 900n, conn_id: 0n }), socket.event('state', refused), socket.event('connect', { thread_id: 901n, conn_id: 0n }), socket.event('state', refused),
      socket.event('connect', { thread_id: 902n, conn_id: 0n }), frame('watermark', { mono_ns: 10_000_000_000n }), ...frames(socket, [['>', GET], ['<', OK]]),
    ]);
    expect(messages.map((row) => [row['kind'], row['connect_thread_id'], row['end_reason'], row['conn_id']])).toEqual([
      ['connect', 900n, 'refused', 9001n], ['connect', 901n, 'refused', 9001n], ['request', 902n, 'no_body', 9001n], ['response', null, 'length', 9001n],
    ]);
  });

  test('reset by the peer, what lay in the queue read after that', () => {
    const socket = new TestSocket({ role: 1 }, { ns: 0n });
    const before = frames(socket, [['connect'], ['>', `POST /p HTTP/1.1\r\nContent-Length: 50\r\n\r\nabc`]]);
    const reset = socket.event('state', { old_state: 1, new_state: 7, errno: 104, flags: 8 });
    const { messages } = run([...before, reset, frame('watermark', { mono_ns: 100_000_000n }), socket.read(OK), frame('watermark', { mono_ns: 300_000_000n })]);
    expect(brief(messages)).toEqual(['request 0 /p 0..43 reset incomplete', 'response 0 200 0..43 length complete']);
    expect(messages.find((row) => row['kind'] === 'request')?.['errno']).toBe(104);
  });

  test('more sockets than there is room for: the longest unused goes, its open message is told', () => {
    const time = { ns: 1000n };
    const chunks = Array.from({ length: 5 }, (_, at) => frames(new TestSocket({ socket_id: BigInt(at + 1) }, time), [['accept'], ['<', GET], ['>', OK.slice(0, 40)]])).flat();
    const { messages, losses } = run(chunks, { most_sockets: 3 });
    expect(losses).toMatchObject([{ cause: 'parser_gap', events_lost: 2n }]);
    expect(messages.filter((row) => row['kind'] === 'response').map((row) => row['end_reason'])).toEqual(['gap', 'gap', 'stop', 'stop', 'stop']);
  });

  test('more sockets than there is room for: those in use stay, however many come and go beside them', () => {
    const time = { ns: 1000n };
    const busy = Array.from({ length: 40 }, (_, at) => new TestSocket({ socket_id: BigInt(at + 1) }, time));
    const chunks = busy.flatMap((socket) => frames(socket, [['accept']]));
    for (let at = 0; at < 400; at += 1) {
      chunks.push(...frames(new TestSocket({ socket_id: BigInt(1000 + at) }, time), [['accept'], ['<', GET], ['>', OK.slice(0, 40)]]));
      chunks.push(...frames(busy[at % 40] as TestSocket, [['<', GET], ['>', OK]]));
    }
    const { messages, losses } = run(chunks, { most_sockets: 200 });
    expect(losses).toMatchObject([{ cause: 'parser_gap', events_lost: 240n }]);
    expect(messages.filter((row) => Number(row['socket_id']) < 1000 && row['end_reason'] === 'length')).toHaveLength(400);
  });

  test('ids that share their low half are two sockets', () => {
    const time = { ns: 1000n };
    const [one, two] = [new TestSocket({ socket_id: 5n }, time), new TestSocket({ socket_id: 5n + (7n << 32n) }, time)];
    const { messages } = run([...frames(one, [['accept'], ['<', GET]]), ...frames(two, [['accept'], ['<', GET]]), ...frames(one, [['>', OK]]), ...frames(two, [['>', OK]])]);
    expect(messages.map((row) => `${row['kind']} ${row['socket_id']}`).toSorted()).toEqual(['request 30064771077', 'request 5', 'response 30064771077', 'response 5']);
  });
});

describe('open requests', () => {
  test('have one partial row for each batch in which they grew', () => {
    const batches: Batch[] = [];
    const assembler = new BatchAssembler({ node: 'n', keep_payload: false, keep_query: false, on_batch: (batch) => batches.push(batch), now_ms: 0 });
    const socket = new TestSocket();
    const seen = (): string[] => rowsOf((batches.at(-1) as Batch).tables.messages).map((row) => `${row['end_offset']} ${row['end_reason']} ${row['partial'] === true ? 'partial' : 'done'}`);
    let now = 0;
    const tick = (): void => assembler.tick((now += 1000));
    assembler.push(runStart());
    assembler.push(socket.event('accept'));
    assembler.push(socket.read('POST /up HTTP/1.1\r\nContent-'));
    tick();
    expect(seen()).toEqual([]);
    assembler.push(socket.read('Length: 10\r\n\r\nab'));
    tick();
    expect(seen()).toEqual(['43 open partial']);
    tick();
    expect(seen()).toEqual([]);
    assembler.push(socket.read('cd'));
    assembler.push(socket.read('ef'));
    tick();
    expect(seen()).toEqual(['47 open partial']);
    assembler.push(socket.read('ghij'));
    assembler.push(socket.write(OK.slice(0, 40)));
    tick();
    expect(seen()).toEqual(['51 length done']);
    assembler.end();
    expect(seen()).toEqual(['40 stop done']);
    expect(batches.at(-1)?.final).toBe(false);
  });
});

test('random calls, random loss, random garbage: no exception, every event has its row, nothing is left over', () => {
  let seed = 20;
  const random = (below: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % below;
  const texts = [GET, OK, GET + GET, CHUNKED, '5\r\nhello\r\n', '0\r\n\r\n', 'HTTP/1.1 100 Continue\r\n\r\n', 'HEAD / HTTP/1.1\r\n\r\n', 'POST / HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n', '\x16\x03\x01', 'G', '\r\n', 'x'.repeat(3000), 'CONNECT a:1 HTTP/1.1\r\n\r\n', 'HTTP/1.1 101 S\r\n\r\n', 'HTTP/1.0 200 OK\r\n\r\n', 'GET /?a HTTP/1.1\r\nContent-Length: -1\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n'];
  for (let round = 0; round < 60; round += 1) {
    const time = { ns: 1_000_000n };
    const sockets = Array.from({ length: 4 }, (_, at) => new TestSocket({ socket_id: BigInt(at + 1), role: random(3), budget: [0, 30, 256, 4096][random(4)] as number, flags: random(3) === 0 ? 4 : 0, sent: random(2) * 777, received: random(2) * 333 }, time));
    const chunks: Buffer[] = [];
    let sent = 0;
    for (let step = 0; step < 120; step += 1) {
      const socket = sockets[random(4)] as TestSocket;
      const text = texts[random(texts.length)] as string;
      const part = text.slice(0, 1 + random(text.length));
      const kind = random(20);
      const made = kind < 9 ? socket.read(part) : kind < 18 ? socket.write(part) : kind === 18 ? socket.event((['connect', 'accept', 'close', 'shutdown'] as const)[random(4)] as 'connect') : socket.event('state', { old_state: random(12), new_state: random(12), errno: random(2) * 104 });
      if (random(10) === 0) continue; // lost
      sent += 1;
      chunks.splice(chunks.length - (random(4) === 0 ? Math.min(chunks.length, random(4)) : 0), 0, made);
      if (random(15) === 0) chunks.push(frame('watermark', { mono_ns: (time.ns += 60_000_000n) }));
    }
    const { events, messages } = run(chunks);
    expect(events).toHaveLength(sent);
    for (const row of messages) {
      expect(Number(row['end_offset'])).toBeGreaterThanOrEqual(Number(row['stream_offset']));
      expect(row['partial']).toBe(false);
    }
  }
});
