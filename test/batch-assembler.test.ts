import { expect, test } from 'vitest';
import { decodeBatches } from '../ingest/arrow-format.ts';
import { BATCH_EVENTS, BatchAssembler } from '../ingest/batch-assembler.ts';
import type { AssemblerOptions } from '../ingest/batch-assembler.ts';
import { checkBatch } from '../ingest/batch-check.ts';
import { BatchStream } from '../ingest/batch-stream.ts';
import type { Batch } from '../ingest/batch.ts';
import { TracehouseError } from '../schema/errors.ts';
import { RELATIONS, RELATION_NAMES, SCHEMA_VERSION } from '../schema/relations.ts';
import { allRows, rowsOf } from './batch-rows.ts';
import { RUN_ID, TestSocket, UTC_ZERO, frame, rawFrame, runStart } from './frames.ts';

function assemble(options: Partial<AssemblerOptions> = {}): { assembler: BatchAssembler; batches: Batch[] } {
  const batches: Batch[] = [];
  const assembler = new BatchAssembler({ node: 'n1', keep_payload: false, keep_query: false, on_batch: (batch) => batches.push(batch), now_ms: 0, ...options });
  return { assembler, batches };
}

const sequence = (batches: readonly Batch[]): number[] => batches.map((batch) => Number(batch.sequence));

test('golden bytes give these rows', () => {
  const { assembler, batches } = assemble();
  assembler.push(runStart());
  assembler.push(frame('socket_event', {
    mono_ns: 1_000_001n, thread_id: (1n << 62n) + 1n, process_id: 402n, socket_id: (1n << 61n) + 7n, conn_id: 0n, stream_offset: 5_000_000_000n, other_offset: 3n, cgroup_id: 8n, turn: 9n,
    tcp_seq: 4_294_967_295, other_tcp_seq: 2, pid: 1, tid: 2, fd: -1, bytes: 4, netns: 4026531840, flags: 1, errno: 0, payload_length: 2, payload: Buffer.from('ab'),
    local_port: 65535, remote_port: 1, family: 10, op: 3, role: 1, local_ip: Uint8Array.from([0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 1]), remote_ip: Uint8Array.from([...Array<number>(10).fill(0), 255, 255, 10, 0, 0, 1]), comm: 'a name of 16 by', syscall: 0,
  }));
  assembler.push(frame('thread_event', { mono_ns: 5n, thread_id: 1n, process_id: 2n, target_thread_id: 3n, target_process_id: 4n, op: 1, comm: 'parent' }));
  assembler.push(frame('process', { process_id: 402n, pid: 1, ns_pid: 7, ppid: 0, started_mono_ns: -1_000_000_000n, exe: '/usr/bin/python3.11', cmdline: 'python3 /srv/app.py', cgroup_path: '/', cwd: '/srv', netns: 4026531840 }));
  assembler.push(frame('stack', { stack_id: 5n, frame_count: 2, frames: Buffer.concat([Buffer.alloc(20, 0xab), Buffer.from([0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0]), Buffer.alloc(20, 1), Buffer.from([0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])]) }));
  assembler.push(frame('loss', { from_mono_ns: 10n, to_mono_ns: 20n, events_lost: 7n, cpu: 1, cause: 1 }));
  assembler.push(frame('watermark', { mono_ns: 2_000_000n }));
  assembler.push(frame('bye', { events_seen: 2n, events_lost: 7n }));
  expect(batches).toHaveLength(1);
  const [batch] = batches as [Batch];
  checkBatch(batch);
  const { tables: _tables, ...header } = batch;
  expect(header).toEqual({ schema_version: SCHEMA_VERSION, node: 'n1', boot_id: 'boot-1', run_id: RUN_ID, sequence: 1n, mono_ns: 0n, utc_ns: UTC_ZERO, error_ns: 50n, watermark_ns: UTC_ZERO + 2_000_000n, final: true });
  expect(rowsOf(batch.tables.socket_events)).toEqual([{
    ts_ns: UTC_ZERO + 1_000_001n, mono_ns: 1_000_001n, pid: 1, tid: 2, process_id: 402n, thread_id: (1n << 62n) + 1n, comm: 'a name of 16 by', socket_id: (1n << 61n) + 7n, conn_id: null, peer_socket_id: null, fd: null,
    op: 'read', bytes: 4n, stream_offset: 5_000_000_000n, tcp_seq: 4_294_967_295n, other_offset: 3n, other_tcp_seq: 2n, local_ip: '2001:db8::1', local_port: 65535, remote_ip: '10.0.0.1', remote_port: 1, role: 'client',
    netns: 4026531840n, cgroup_id: 8n, turn: 9n, task_id: null, parent_task_id: null, stack_id: null, layer: 'socket', errno: null, flags: 1, old_state: null, new_state: null, payload: null, payload_truncated: true,
  }]);
  expect(rowsOf(batch.tables.thread_events)).toEqual([{ ts_ns: UTC_ZERO + 5n, mono_ns: 5n, process_id: 2n, thread_id: 1n, op: 'fork', target_thread_id: 3n, target_process_id: 4n, comm: 'parent', in_irq: false, key: null }]);
  expect(rowsOf(batch.tables.processes)).toEqual([{
    ts_ns: UTC_ZERO + 2_000_000n, process_id: 402n, pid: 1, ns_pid: 7, ppid: 0, started_ns: UTC_ZERO - 1_000_000_000n, ended_ns: null, exe: '/usr/bin/python3.11', cmdline: 'python3 /srv/app.py', container_id: null, cgroup: '/', netns: 4026531840n, service_name: 'app', service_rule: 'script',
  }]);
  expect(rowsOf(batch.tables.losses)).toEqual([{ cpu: 1, from_ns: UTC_ZERO + 10n, to_ns: UTC_ZERO + 20n, events_lost: 7n, cause: 'ring_full' }]);
  expect(rowsOf(batch.tables.clocks)).toEqual([{ mono_ns: 0n, utc_ns: UTC_ZERO, error_ns: 50n }]);
  expect(rowsOf(batch.tables.stacks)).toEqual([{ stack_id: 5n, frames: `${'ab'.repeat(20)}+1234;${'01'.repeat(20)}+1` }]);
  expect(assembler.counters).toMatchObject({ events: 1, batches: 1, kernel_events: 2, kernel_lost: 7 });
});

test('every table has every column of its relation', () => {
  const { assembler, batches } = assemble();
  assembler.push(runStart());
  assembler.end();
  for (const name of RELATION_NAMES) expect(Object.keys((batches[0] as Batch).tables[name].columns)).toEqual(RELATIONS[name].columns.map((column) => column.name));
});

test('a batch is cut at exactly 30,720 events, also within one chunk, and by time when quiet', () => {
  const { assembler, batches } = assemble();
  const socket = new TestSocket();
  const events = Array.from({ length: 31_000 }, () => socket.read('x'));
  assembler.push(Buffer.concat([runStart(), ...events]));
  expect(batches.map((batch) => batch.tables.socket_events.rows)).toEqual([BATCH_EVENTS]);
  assembler.tick(100);
  expect(batches).toHaveLength(1);
  assembler.tick(260);
  assembler.tick(400);
  expect(batches.map((batch) => batch.tables.socket_events.rows)).toEqual([BATCH_EVENTS, 280]);
  assembler.push(frame('bye'));
  assembler.end();
  expect(sequence(batches)).toEqual([1, 2, 3]);
  expect(batches.map((batch) => batch.final)).toEqual([false, false, true]);
  for (const batch of batches) checkBatch(batch);
  const offsets = allRows(batches, 'socket_events').map((row) => Number(row['stream_offset']));
  expect(offsets).toEqual(Array.from({ length: 31_000 }, (_, at) => at));
});

test('without rows the watermark still moves: at once after rows, then every second', () => {
  const { assembler, batches } = assemble();
  assembler.push(runStart());
  assembler.push(new TestSocket().read('x'));
  const at: number[] = [];
  for (let now = 50; now <= 4000; now += 50) {
    const before = batches.length;
    assembler.push(frame('watermark', { mono_ns: BigInt(now) * 1_000_000n }));
    assembler.tick(now);
    if (batches.length > before) at.push(now);
  }
  expect(at).toEqual([250, 500, 1500, 2500, 3500]);
  expect(batches.map((batch) => batch.watermark_ns - UTC_ZERO)).toEqual(at.map((ms) => BigInt(ms) * 1_000_000n));
});

test('a wall clock that is set back holds no batch up for longer than a batch lasts', () => {
  const { assembler, batches } = assemble({ now_ms: 1_000_000 });
  assembler.push(runStart());
  assembler.push(new TestSocket().read('x'));
  assembler.tick(500);
  assembler.tick(751);
  expect(batches).toHaveLength(1);
});

test('a clock that agrees within its error changes nothing, one that steps is taken for the next batch', () => {
  const { assembler, batches } = assemble();
  const socket = new TestSocket();
  const event = (): void => assembler.push(socket.read('x'));
  assembler.push(runStart());
  event();
  assembler.push(frame('clock', { mono_ns: 1000n, utc_ns: UTC_ZERO + 1090n, error_ns: 60n }));
  assembler.tick(1000);
  event();
  assembler.push(frame('clock', { mono_ns: 2000n, utc_ns: UTC_ZERO + 5_002_000n, error_ns: 60n }));
  event();
  assembler.tick(2000);
  event();
  assembler.tick(3000);
  expect(batches.map((batch) => batch.utc_ns - batch.mono_ns - UTC_ZERO)).toEqual([0n, 0n, 5_000_000n]);
  for (const batch of batches) for (const row of rowsOf(batch.tables.socket_events)) expect((row['ts_ns'] as bigint) - (row['mono_ns'] as bigint)).toBe(batch.utc_ns - batch.mono_ns);
  expect(allRows(batches, 'clocks').map((row) => row['mono_ns'])).toEqual([1000n, 2000n]);
});

test('losses: the kernel\'s, others\', what could not be decoded, each counted once', () => {
  const starts: string[] = [];
  const { assembler, batches } = assemble({ on_start: (run) => starts.push(`${run.boot_id} ${run.run_id}`) });
  assembler.push(runStart());
  assembler.addLoss({ cause: 'not_running', from_ns: 5n, to_ns: 9n, events_lost: null });
  assembler.push(frame('loss', { from_mono_ns: 1n, to_mono_ns: 2n, events_lost: 0n, cpu: -1, cause: 2 }));
  assembler.push(frame('loss', { from_mono_ns: 1n, to_mono_ns: 2n, events_lost: 4n, cpu: -1, cause: 4 }));
  assembler.push(rawFrame(50, Buffer.alloc(8)));
  assembler.push(new TestSocket().event('read', { op: 200 }));
  assembler.push(frame('thread_event', { op: 77 }));
  assembler.end();
  expect(starts).toEqual([`boot-1 ${RUN_ID}`]);
  const rows = allRows(batches, 'losses').map((row) => [row['cause'], row['cpu'], row['events_lost']]);
  expect(rows).toEqual([['connection_shed', null, 4n], ['not_running', null, null], ['undecodable', null, 3n]]);
  expect(assembler.counters).toMatchObject({ undecodable: 3, frames_unknown: 1 });
});

test('events without a clock are refused once a batch is full, a stream without hello gives no batch', () => {
  const { assembler, batches } = assemble();
  const socket = new TestSocket();
  assembler.push(runStart().subarray(0, runStart().length - 40));
  expect(() => {
    for (let n = 0; n < BATCH_EVENTS; n += 1) assembler.push(socket.read('x'));
  }).toThrow(TracehouseError);
  assembler.end();
  assemble().assembler.end();
  expect(batches).toEqual([]);
});

test('memory that batches gave back serves later ones, and none that is still held changes', () => {
  /** Rows that come and go: more and fewer of them, texts longer and shorter, nulls here and there. */
  const feed = (assembler: BatchAssembler): void => {
    const socket = new TestSocket();
    assembler.push(runStart());
    for (let n = 0; n < 12; n += 1) {
      for (let i = 0; i < [3, 400, 40, 900][n % 4]!; i += 1) {
        assembler.push(socket.read(`GET /${'p'.repeat((n * 37 + i) % 90)}/${i} HTTP/1.1\r\nHost: host-${i % 7}\r\n\r\n`, (n + i) % 3 === 0 ? { flags: 8, fd: -1 } : { comm: `thread-${i % 5}` }));
        assembler.push(socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', i % 2 === 0 ? { conn_id: 0n } : {}));
      }
      assembler.push(frame('watermark', { mono_ns: BigInt(n + 1) * 1_000_000n }));
      assembler.tick((n + 1) * 1000);
    }
    assembler.push(frame('bye'));
  };
  const plain = (batch: Batch): unknown => RELATION_NAMES.map((name) => rowsOf(batch.tables[name]));
  const { assembler, batches } = assemble({ keep_payload: true });
  feed(assembler);
  const expected = batches.map(plain);
  expect(expected.length).toBeGreaterThan(10);

  const stream = new BatchStream();
  const sent: Uint8Array[] = [];
  const held: Batch[] = [];
  const memory = new Set<unknown>();
  const reusing = new BatchAssembler({
    node: 'n1', keep_payload: true, keep_query: false, now_ms: 0,
    on_batch: (batch) => {
      sent.push(stream.encode(batch).slice());
      const times = batch.tables.socket_events.columns['ts_ns'];
      if (times?.type === 'int64' && times.values.length > 0) memory.add(times.values.buffer);
      held.push(batch);
      // One is held back while the next is filled.
      if (held.length % 4 !== 0) reusing.giveBack(batch);
      reusing.giveBack(held[held.length - 2] ?? batch);
    },
  });
  feed(reusing);
  expect(sent.map((bytes) => plain(decodeBatches(bytes)[0] as Batch))).toEqual(expected);
  expect(plain(held.at(-1) as Batch)).toEqual(expected.at(-1));
  expect(memory.size).toBeLessThan(sent.length);
});

test('addresses and thread names by the thousand, in one batch and from one to the next, come back as they were', () => {
  const { assembler, batches } = assemble();
  const address = (at: number): Uint8Array => Uint8Array.from([10, at >> 16, (at >> 8) & 255, at & 255, ...Array<number>(12).fill(0)]);
  const wide = (at: number): Uint8Array => Uint8Array.from([0x20, 1, ...Array<number>(11).fill(0), at >> 16, (at >> 8) & 255, at & 255]);
  const socket = new TestSocket();
  const expected: string[][] = [];
  assembler.push(runStart());
  for (let batch = 0; batch < 4; batch += 1) {
    for (let at = 0; at < 3000; at += 1) {
      const [own, other, thread] = [at % 50, batch * 2000 + at, batch * 2500 + at];
      assembler.push(socket.event('accept', { family: at % 2 === 0 ? 2 : 10, local_ip: at % 2 === 0 ? address(own) : wide(own), remote_ip: at % 2 === 0 ? address(other) : wide(other), comm: `thread ${thread}` }));
      const ip = (n: number): string => (at % 2 === 0 ? `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` : n === 0 ? '2001::' : `2001::${(n & 0xffff).toString(16)}`);
      expected.push([ip(own), ip(other), `thread ${thread}`]);
    }
    assembler.tick((batch + 1) * 1000);
  }
  expect(batches).toHaveLength(4);
  for (const batch of batches) checkBatch(batch);
  expect(batches.flatMap((batch) => rowsOf(batch.tables.socket_events).map((row) => [row['local_ip'], row['remote_ip'], row['comm']]))).toEqual(expected);
  const { op } = (batches[3] as Batch).tables.socket_events.columns;
  expect(op?.type === 'dict' ? op.dictionary : null).toEqual(['accept']);
});
