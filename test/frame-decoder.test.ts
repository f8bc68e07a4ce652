import { describe, expect, test } from 'vitest';
import { encodeControl } from '../ingest/control-frames.ts';
import { FrameDecoder } from '../ingest/frame-decoder.ts';
import { readRecord } from '../ingest/record-fields.ts';
import { TracehouseError } from '../schema/errors.ts';
import { ABI_VERSION, RECORDS } from '../schema/records.ts';
import { TestSocket, frame, rawFrame, runStart } from './frames.ts';

/** What the decoder calls, as text: enough to see that nothing is lost, doubled or moved. */
function decode(chunks: Iterable<Uint8Array>): string[] {
  const seen: string[] = [];
  const decoder = new FrameDecoder({
    socketEvent: (words, base, bytes) => seen.push(`socket ${words[base]} ${Buffer.from(bytes.subarray(base * 4 + 216)).toString('latin1').slice(0, 5)}`),
    threadEvent: (words, base) => seen.push(`thread ${words[base]}`),
    record: (name, body) => seen.push(`${name} ${body.length}`),
    unknown: (id) => seen.push(`unknown ${id}`),
  });
  for (const chunk of chunks) decoder.push(chunk);
  return seen;
}

const socket = new TestSocket();
const STREAM = Buffer.concat([
  runStart(), socket.read('hello'), frame('thread_event', { mono_ns: 3n, op: 1 }), frame('process', { process_id: 1n, exe: '/bin/ls', cmdline: 'ls' }),
  rawFrame(40, Buffer.alloc(24)), socket.write('world'), frame('watermark', { mono_ns: 9n }), frame('bye'),
]);
const EXPECTED = decode([STREAM]);

function failure(...chunks: Uint8Array[]): TracehouseError {
  try {
    decode(chunks);
  } catch (error) {
    if (error instanceof TracehouseError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

test('whole', () => {
  expect(EXPECTED).toEqual(['hello 60', 'clock 24', 'socket 1001000 hello', 'thread 3', 'process 85', 'unknown 40', 'socket 1002000 world', 'watermark 8', 'bye 24']);
});

test('split in two at every position, in any memory', () => {
  for (let cut = 1; cut < STREAM.length; cut += 1) {
    const shifted = Buffer.alloc(STREAM.length + 3);
    shifted.set(STREAM, 3);
    expect(decode([STREAM.subarray(0, cut), STREAM.subarray(cut)])).toEqual(EXPECTED);
    expect(decode([shifted.subarray(3, 3 + cut), STREAM.subarray(cut)])).toEqual(EXPECTED);
  }
});

test('in chunks of every size', () => {
  for (let size = 1; size < 400; size += 7) {
    expect(decode(Array.from({ length: Math.ceil(STREAM.length / size) }, (_, at) => STREAM.subarray(at * size, (at + 1) * size)))).toEqual(EXPECTED);
  }
});

describe('garbage', () => {
  const start = runStart();
  const bad = (at: number, value: number): Buffer => {
    const bytes = frame('watermark', { mono_ns: 1n });
    bytes.writeUInt32LE(value, at);
    return bytes;
  };
  test.each<[string, Buffer[], RegExp]>([
    ['bytes that are no frame', [start, Buffer.from('Segmentation fault (core dumped)')], new RegExp(`at byte ${start.length} of its stream`)],
    ['a length that cannot be', [start, bad(8, 0x7fff_fff8)], /2147483640 bytes/],
    ['a length that is no multiple of 8', [start, bad(8, 9)], /9 bytes/],
    ['more used than there is', [start, bad(12, 16)], /16 of them used/],
    ['a record too short for its type', [start, rawFrame(RECORDS.socket_event.id, Buffer.alloc(64))], /socket event of 64 bytes/],
    ['a payload longer than its frame', [start, socket.read('x', { payload_length: 4000 })], /socket event/],
    ['strings that overrun their record', [start, rawFrame(RECORDS.process.id, Buffer.alloc(60, 0x7f))], /process record/],
    ['another ABI', [frame('hello', { abi_version: ABI_VERSION + 1 })], new RegExp(`ABI version ${ABI_VERSION + 1}`)],
    ['events before hello', [socket.read('x')], /before hello/],
  ])('%s', (_what, chunks, message) => {
    const error = failure(...chunks);
    expect(error.code).toBe('loader-stream');
    expect(error.message).toMatch(message);
    expect(error.mend).toContain('npm run build');
  });

  test('stays refused: nothing after it is believed', () => {
    const decoder = new FrameDecoder({ socketEvent: () => undefined, threadEvent: () => undefined, record: () => undefined, unknown: () => undefined });
    expect(() => decoder.push(Buffer.from('x'.repeat(32)))).toThrow(TracehouseError);
    expect(() => decoder.push(runStart())).toThrow(TracehouseError);
  });

  test('altered anywhere: decoded or refused, no other exception', () => {
    let seed = 5;
    const random = (below: number): number => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;
    const codes = new Set<string>();
    for (let round = 0; round < 2000; round += 1) {
      const altered = Buffer.from(STREAM);
      for (let n = 0; n <= random(4); n += 1) altered[random(altered.length)] = random(256);
      try {
        decode([altered]);
      } catch (error) {
        codes.add((error as TracehouseError).code);
      }
    }
    expect([...codes]).toEqual(['loader-stream']);
  });
});

test('control frames carry what was asked for, by the same layout', () => {
  const bytes = encodeControl('control_follow', { socket_id: 0x1234_5678_9abc_def0n, on: 1n });
  expect(bytes.length).toBe(32);
  expect(Buffer.from(bytes).equals(frame('control_follow', { socket_id: 0x1234_5678_9abc_def0n, on: 1n }))).toBe(true);
  expect(Buffer.from(encodeControl('control_scope', { spec: 'netns:demo' })).equals(frame('control_scope', { spec: 'netns:demo' }))).toBe(true);
  expect(readRecord('control_scope', encodeControl('control_scope', { spec: 'pid:1' }).subarray(16))).toEqual({ reserved: 0n, spec: 'pid:1' });
  expect(encodeControl('control_stop').length).toBe(24);
});
