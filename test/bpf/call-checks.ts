// What must hold between the calls that the load program counted and the events that the collector sent, on any kernel.
import { expect } from 'vitest';
import { hasFlag, type FrameLog, type SocketEvent } from './frame-log.ts';

export interface Call {
  readonly family: string;
  readonly op: 'read' | 'write';
  readonly how: string;
  readonly fd: number;
  readonly bytes: number;
  readonly serial: string;
}

const NO_BUFFER = new Set(['sendfile', 'splice', 'io_uring', 'io_uring_sqpoll']);
const NO_FD = new Set(['io_uring', 'io_uring_sqpoll']);

/** The load program's own account, from its output. */
export function readCalls(lines: readonly string[]): Call[] {
  return lines
    .map((line) => line.split(' '))
    .filter((word) => word[0] === 'call')
    .map((word) => ({ family: word[1] as string, op: word[2] as Call['op'], how: word[3] as string, fd: Number(word[4]), bytes: Number(word[5]), serial: word[6] as string }));
}

/** Reads and writes that moved something, in order of time. */
export function movedBy(log: FrameLog): SocketEvent[] {
  return [...log.of('read'), ...log.of('write')].filter((event) => event.bytes > 0).sort((a, b) => Number(a.mono_ns - b.mono_ns));
}

type Check = (calls: readonly Call[], events: readonly SocketEvent[], run: FrameLog) => void;

export const CALL_CHECKS: Readonly<Record<string, Check>> = {
  'the load program made all of them': (calls) => {
    expect(new Set(calls.filter((call) => call.family === 'tcp4').map((call) => `${call.op} ${call.how}`)).size).toBeGreaterThanOrEqual(19);
    expect(new Set(calls.map((call) => call.family))).toEqual(new Set(['tcp4', 'tcp6', 'unix']));
  },
  'one event a call, in order, with its bytes, descriptor and direction': (calls, events, run) => {
    expect(events.map((event) => [event.op === 3 ? 'read' : 'write', event.bytes, event.fd])).toEqual(
      calls.map((call) => [call.op, call.bytes, NO_FD.has(call.how) ? -1 : call.fd]),
    );
    expect(run.lost('ring_full', 'connection_shed', 'hook_missed')).toBe(0);
  },
  'payload is what the call carried, wherever its buffers lay': (calls, events) => {
    let payload_ends_phase = 0;
    for (const [i, call] of calls.entries()) {
      const event = events[i] as SocketEvent;
      if (NO_BUFFER.has(call.how) || (call.how === 'discard' && call.family !== 'unix')) {
        expect([call.how, event.payload.length, event.tail_length]).toEqual([call.how, 0, 0]);
        continue;
      }
      const text = event.payload.toString('latin1');
      if (event.payload.length > 0) expect(text.slice(0, 4), `${call.op} ${call.how}`).toBe(call.serial);
      if (event.payload.length === call.bytes) {
        expect(text.endsWith('<<end>>\n')).toBe(true);
      } else {
        payload_ends_phase += 1;
        const tail = Buffer.alloc(8);
        tail.writeBigUInt64LE(event.tail);
        expect([call.how, event.tail_length, tail.toString()]).toEqual([call.how, 8, '<<end>>\n']);
        expect(hasFlag(event, 'payload_truncated')).toBe(true);
      }
    }
    // The two writes of one end in a row are the only ones whose budget is used up.
    expect(payload_ends_phase).toBeLessThan(calls.length / 4);
  },
  'offsets of both directions count every byte, at both ends': (_calls, events) => {
    const moved = new Map<bigint, { read: number; write: number }>();
    for (const event of events) {
      const socket = moved.get(event.socket_id) ?? { read: 0, write: 0 };
      moved.set(event.socket_id, socket);
      const [own, other] = event.op === 3 ? (['read', 'write'] as const) : (['write', 'read'] as const);
      expect([Number(event.stream_offset), Number(event.other_offset)]).toEqual([socket[own], socket[other]]);
      socket[own] += event.bytes;
    }
    expect(moved.size).toBe(6);
  },
  'a byte has one sequence number, whoever looks at it': (_calls, events) => {
    const writes = events.filter((event) => event.op === 4 && event.family !== 1);
    const reads = events.filter((event) => event.op === 3 && event.family !== 1);
    const key = (event: SocketEvent): string => `${event.conn_id} ${event.tcp_seq} ${event.stream_offset}`;
    expect(reads.map(key)).toEqual(writes.map(key));
    expect(new Set(writes.map((event) => event.conn_id)).size).toBe(2);
  },
  'io_uring is marked, and its polling thread is not taken for the caller': (calls, events) => {
    for (const [i, call] of calls.entries()) {
      const event = events[i] as SocketEvent;
      expect([call.how, hasFlag(event, 'io_uring')]).toEqual([call.how, call.how.startsWith('io_uring')]);
      expect([call.how, hasFlag(event, 'no_thread')]).toEqual([call.how, call.how === 'io_uring_sqpoll']);
    }
  },
  'the two ends of a Unix socket name each other and the pair alike': (_calls, events) => {
    const [one, ...rest] = events.filter((event) => event.family === 1);
    const ends = new Map(rest.map((event) => [event.socket_id, event]));
    expect(ends.size).toBe(2);
    for (const event of ends.values()) {
      expect(event.conn_id).toBe(one?.conn_id);
      expect(ends.has(event.peer_socket_id)).toBe(true);
      expect(hasFlag(event, 'relative_offset')).toBe(false);
    }
  },
  'the end of a stream is told once': (_calls, _events, run) => {
    const ends = run.of('read').filter((event) => hasFlag(event, 'eof'));
    expect(ends.length).toBe(3);
    for (const event of ends) expect(event.bytes).toBe(0);
  },
  'connect, accept, shutdown and close carry the thread that called them': (_calls, events, run) => {
    const [tcp4, tcp6, unix] = [2, 10, 1].map((family) => run.events.filter((event) => event.family === family));
    for (const [events_of, ops] of [
      [tcp4, ['connect', 'accept', 'shutdown', 'close', 'close']],
      [tcp6, ['connect', 'accept', 'shutdown', 'close', 'close']],
      [unix, ['connect', 'accept', 'close', 'close']],
    ] as const) {
      const calls_of = (events_of ?? []).filter((event) => [1, 2, 5, 7].includes(event.op));
      expect(calls_of.map((event) => ['', 'connect', 'accept', 'read', 'write', 'shutdown', 'state', 'close'][event.op])).toEqual(ops);
      for (const event of calls_of) {
        expect(event.tid).toBe(events[0]?.tid);
        expect(event.fd).toBeGreaterThan(2);
        expect(event.role).toBe(event.fd === calls_of[0]?.fd ? 1 : 2);
      }
      const last = calls_of.at(-1) as SocketEvent;
      const bytes = events.filter((event) => event.socket_id === last.socket_id);
      expect(Number(last.stream_offset)).toBe(bytes.filter((event) => event.op === 4).reduce((sum, event) => sum + event.bytes, 0));
      expect(Number(last.other_offset)).toBe(bytes.filter((event) => event.op === 3).reduce((sum, event) => sum + event.bytes, 0));
    }
  },
};
