// The layout of every record that crosses the kernel's ring and the loader's pipe, defined once.
// bpf/records.h is generated from this table; the decoder takes its offsets from it.

/** C types that a record may hold; sizes in bytes, natural alignment, little endian. */
export const C_TYPES = {
  u8: { size: 1 },
  u16: { size: 2 },
  u32: { size: 4 },
  s32: { size: 4 },
  u64: { size: 8 },
  s64: { size: 8 },
} as const satisfies Record<string, { size: number }>;

export type CType = keyof typeof C_TYPES;

export interface Field {
  readonly name: string;
  readonly type: CType;
  /** Number of elements when the field is an array. */
  readonly count?: number;
  readonly doc: string;
}

export interface RecordLayout {
  /** Frame type on the pipe: explicit, never reused. */
  readonly id: number;
  readonly doc: string;
  readonly fields: readonly Field[];
  /** What follows the fixed part: raw bytes, or strings each as u32 length + bytes, padded together to 8. */
  readonly tail?: 'payload' | 'strings' | 'frames';
  /** Names of the strings when tail = 'strings', in order. */
  readonly strings?: readonly string[];
}

/** Raised whenever a layout changes; the loader says its own in `hello`, and a mismatch is refused. */
export const ABI_VERSION = 2;

/** First word of every frame: resynchronisation is not attempted, a wrong magic ends the run with a clear error. */
export const FRAME_MAGIC = 0x54_48_46_31; // 'THF1'

/** struct th_frame: precedes every record on the pipe. */
export const FRAME_HEADER: readonly Field[] = [
  { name: 'magic', type: 'u32', doc: 'FRAME_MAGIC' },
  { name: 'type', type: 'u16', doc: 'record id' },
  { name: 'reserved', type: 'u16', doc: '0' },
  { name: 'length', type: 'u32', doc: 'bytes that follow this header, a multiple of 8' },
  { name: 'used', type: 'u32', doc: 'bytes of them that carry data, the rest is padding' },
];

export const OPS = {
  connect: 1,
  accept: 2,
  read: 3,
  write: 4,
  shutdown: 5,
  state: 6,
  close: 7,
  exist: 8,
} as const;

export const ROLES = { unknown: 0, client: 1, server: 2 } as const;
export const LAYERS = { socket: 0, tls: 1 } as const;

export const EVENT_FLAGS = {
  /** Fewer payload bytes than `bytes` were captured. */
  payload_truncated: 1,
  /** A read that met the end of the stream. */
  eof: 2,
  /** The connection is older than the collector. */
  preexisting: 4,
  /** thread_id, pid and tid say nothing about who did it (interrupt, kernel thread, io_uring worker). */
  no_thread: 8,
  /** The call went through io_uring. */
  io_uring: 16,
  /** Payload was left out because the ring was under pressure. */
  payload_shed: 32,
  /** A Unix stream socket. */
  unix: 64,
  /** stream offsets count from the first event seen, not from the connection's start. */
  relative_offset: 128,
  /** task_id and parent_task_id are those of the task that asked for this write; a task of the connection made it. */
  task_of_caller: 256,
} as const;

export const THREAD_OPS = { fork: 1, exec: 2, exit: 3, wake: 4 } as const;

export const LOSS_CAUSES = {
  ring_full: 1,
  payload_shed: 2,
  wake_shed: 3,
  connection_shed: 4,
  not_running: 5,
  spool_full: 6,
  undecodable: 7,
  parser_gap: 8,
  /** The hook itself was skipped (interrupted on its CPU, or out of return probes). */
  hook_missed: 9,
  /** Likewise for a change of a connection's state: reads and writes are all there. */
  state_missed: 10,
  /** Likewise for a turn of an event loop, which is no event: the thread's later turns are numbered one lower. */
  turn_missed: 11,
} as const;

/** Control frames on the loader's stdin use the same header; ids from 64 on. */
export const RECORDS = {
  socket_event: {
    id: 1,
    doc: 'One successful call on a TCP or Unix stream socket, or one change of its state.',
    tail: 'payload',
    fields: [
      { name: 'mono_ns', type: 'u64', doc: 'CLOCK_MONOTONIC when the hook ran' },
      { name: 'thread_id', type: 'u64', doc: 'unique over nodes and boots, 63 bits' },
      { name: 'process_id', type: 'u64', doc: 'unique over nodes and boots, 63 bits' },
      { name: 'socket_id', type: 'u64', doc: 'unique over nodes and boots, 63 bits' },
      { name: 'conn_id', type: 'u64', doc: 'equal at both ends, 63 bits; 0 = not known yet' },
      { name: 'peer_socket_id', type: 'u64', doc: 'Unix sockets: the other socket; else 0' },
      { name: 'stream_offset', type: 'u64', doc: 'application bytes in this direction before this event' },
      { name: 'other_offset', type: 'u64', doc: 'application bytes so far in the other direction' },
      { name: 'cgroup_id', type: 'u64', doc: 'cgroup v2 id of the task' },
      { name: 'turn', type: 'u64', doc: 'times the thread has entered epoll_wait, poll, select or their kin' },
      { name: 'task_id', type: 'u64', doc: 'goroutine or the like; 0 = unknown; with task_of_caller that of who asked for the write' },
      { name: 'parent_task_id', type: 'u64', doc: '0 = unknown' },
      { name: 'stack_id', type: 'u64', doc: 'hash of the user stack; 0 = not taken' },
      { name: 'tail', type: 'u64', doc: 'the last min(8, bytes) bytes of the call, last byte highest; valid if tail_length > 0' },
      { name: 'tcp_seq', type: 'u32', doc: 'wire sequence number of the first byte, this direction' },
      { name: 'other_tcp_seq', type: 'u32', doc: 'wire sequence number reached in the other direction' },
      { name: 'pid', type: 'u32', doc: 'thread group id' },
      { name: 'tid', type: 'u32', doc: 'thread id' },
      { name: 'fd', type: 's32', doc: '-1 = unknown' },
      { name: 'bytes', type: 's32', doc: 'bytes moved by the call' },
      { name: 'netns', type: 'u32', doc: 'inode of the network namespace of the socket' },
      { name: 'flags', type: 'u32', doc: 'EVENT_FLAGS' },
      { name: 'errno', type: 's32', doc: '0 or a positive errno' },
      { name: 'payload_length', type: 'u32', doc: 'captured bytes that follow the fixed part' },
      { name: 'local_port', type: 'u16', doc: 'host byte order' },
      { name: 'remote_port', type: 'u16', doc: 'host byte order' },
      { name: 'family', type: 'u16', doc: 'AF_UNIX 1, AF_INET 2, AF_INET6 10' },
      { name: 'op', type: 'u8', doc: 'OPS' },
      { name: 'layer', type: 'u8', doc: 'LAYERS' },
      { name: 'role', type: 'u8', doc: 'ROLES' },
      { name: 'old_state', type: 'u8', doc: 'TCP state before, op state/close/shutdown' },
      { name: 'new_state', type: 'u8', doc: 'TCP state after, op state/close/shutdown' },
      { name: 'tail_length', type: 'u8', doc: 'valid bytes in tail, 0..8' },
      { name: 'syscall', type: 's32', doc: 'system call number, -1 = none' },
      { name: 'local_ip', type: 'u8', count: 16, doc: 'network order; IPv4 in the first four bytes' },
      { name: 'remote_ip', type: 'u8', count: 16, doc: 'network order; IPv4 in the first four bytes' },
      { name: 'comm', type: 'u8', count: 16, doc: 'name of the thread' },
    ],
  },
  thread_event: {
    id: 2,
    doc: 'Life of a thread, or one thread waking another of its process.',
    fields: [
      { name: 'mono_ns', type: 'u64', doc: 'CLOCK_MONOTONIC' },
      { name: 'thread_id', type: 'u64', doc: 'who did it' },
      { name: 'process_id', type: 'u64', doc: 'whose process' },
      { name: 'target_thread_id', type: 'u64', doc: 'fork: the child; wake: the woken; else 0' },
      { name: 'target_process_id', type: 'u64', doc: "fork: the child's process; else 0" },
      { name: 'key', type: 'u64', doc: 'futex, eventfd or pipe where known; 0 = unknown' },
      { name: 'pid', type: 'u32', doc: 'thread group id' },
      { name: 'tid', type: 'u32', doc: 'thread id' },
      { name: 'target_pid', type: 'u32', doc: '' },
      { name: 'target_tid', type: 'u32', doc: '' },
      { name: 'op', type: 'u8', doc: 'THREAD_OPS' },
      { name: 'in_irq', type: 'u8', doc: '1 = from an interrupt: says nothing about the current thread' },
      { name: 'exit_process', type: 'u8', doc: '1 = the last thread of its process left' },
      { name: 'padding', type: 'u8', count: 5, doc: '0' },
      { name: 'comm', type: 'u8', count: 16, doc: '' },
    ],
  },
  process: {
    id: 3,
    doc: 'What /proc says of a process: sent when it is first seen, after exec, and at its end.',
    tail: 'strings',
    strings: ['exe', 'cmdline', 'container_id', 'cgroup_path', 'otel_service_name', 'comm', 'cwd'],
    fields: [
      { name: 'process_id', type: 'u64', doc: '' },
      { name: 'started_mono_ns', type: 'u64', doc: 'CLOCK_MONOTONIC; may be negative as s64 when started before suspend' },
      { name: 'ended_mono_ns', type: 'u64', doc: '0 = still running' },
      { name: 'cgroup_id', type: 'u64', doc: '' },
      { name: 'pid', type: 'u32', doc: '' },
      { name: 'ns_pid', type: 'u32', doc: 'pid in the innermost pid namespace' },
      { name: 'ppid', type: 'u32', doc: '' },
      { name: 'netns', type: 'u32', doc: '' },
    ],
  },
  clock: {
    id: 4,
    doc: 'A pair of readings: CLOCK_MONOTONIC between two CLOCK_REALTIME readings.',
    fields: [
      { name: 'mono_ns', type: 'u64', doc: '' },
      { name: 'utc_ns', type: 'u64', doc: 'since 1970' },
      { name: 'error_ns', type: 'u64', doc: 'half of the distance between the two outer readings' },
    ],
  },
  watermark: {
    id: 5,
    doc: 'No event older than mono_ns follows from this run.',
    fields: [{ name: 'mono_ns', type: 'u64', doc: '' }],
  },
  loss: {
    id: 6,
    doc: 'Events that could not be handed over since the previous loss record of the same cpu and cause.',
    fields: [
      { name: 'from_mono_ns', type: 'u64', doc: '' },
      { name: 'to_mono_ns', type: 'u64', doc: '' },
      { name: 'events_lost', type: 'u64', doc: '' },
      { name: 'cpu', type: 's32', doc: '-1 = all' },
      { name: 'cause', type: 'u32', doc: 'LOSS_CAUSES' },
    ],
  },
  stack: {
    id: 7,
    doc: 'A user stack, sent once a run for each stack_id.',
    tail: 'frames',
    fields: [
      { name: 'stack_id', type: 'u64', doc: '' },
      { name: 'frame_count', type: 'u32', doc: 'frames of {u8 build_id[20]; u32 status; u64 offset}' },
      { name: 'padding', type: 'u32', doc: '0' },
    ],
  },
  hello: {
    id: 8,
    doc: 'First frame of a run.',
    tail: 'strings',
    strings: ['boot_id', 'hostname', 'kernel'],
    fields: [
      { name: 'run_id', type: 'u64', doc: 'start of this collector, ns since 1970: unique for a node' },
      { name: 'abi_version', type: 'u32', doc: 'ABI_VERSION' },
      { name: 'cpus', type: 'u32', doc: '' },
      { name: 'ring_bytes', type: 'u64', doc: '' },
      { name: 'started_mono_ns', type: 'u64', doc: 'when every hook was attached' },
    ],
  },
  capability: {
    id: 9,
    doc: 'One thing the collector needs, and how this kernel gives it.',
    tail: 'strings',
    strings: ['name', 'hook', 'mend'],
    fields: [
      { name: 'ok', type: 'u32', doc: '1 = there' },
      { name: 'required', type: 'u32', doc: '1 = nothing works without it' },
    ],
  },
  bye: {
    id: 10,
    doc: 'Last frame of a run that ended in order.',
    fields: [
      { name: 'events_seen', type: 'u64', doc: 'records that the kernel handed over' },
      { name: 'events_lost', type: 'u64', doc: 'events that it counted as lost' },
      { name: 'waited_bytes', type: 'u64', doc: 'the most that waited on disk for the reader at one time' },
    ],
  },
  control_scope: {
    id: 64,
    doc: 'stdin: add to the scope.',
    tail: 'strings',
    strings: ['spec'],
    fields: [{ name: 'reserved', type: 'u64', doc: '0' }],
  },
  control_exclude: {
    id: 65,
    doc: 'stdin: never trace this process.',
    fields: [{ name: 'pid', type: 'u64', doc: '' }],
  },
  control_follow: {
    id: 66,
    doc: 'stdin: capture the payload of every event of this socket, up to the payload setting each.',
    fields: [
      { name: 'socket_id', type: 'u64', doc: '' },
      { name: 'on', type: 'u64', doc: '1 = follow, 0 = stop following' },
    ],
  },
  control_stop: {
    id: 67,
    doc: 'stdin: drain what is there, say bye, exit 0. End of file on stdin does the same.',
    fields: [{ name: 'reserved', type: 'u64', doc: '0' }],
  },
} as const satisfies Record<string, RecordLayout>;

export type RecordName = keyof typeof RECORDS;

export interface Placed extends Field {
  readonly offset: number;
  readonly size: number;
}

/** Natural C layout of the fields: offset and size in bytes of each, and the struct's size padded to 8. */
export function placeFields(fields: readonly Field[]): { placed: Placed[]; size: number } {
  const placed: Placed[] = [];
  let offset = 0;
  for (const field of fields) {
    const unit = C_TYPES[field.type].size;
    const padding = (unit - (offset % unit)) % unit;
    if (padding !== 0) throw new Error(`${field.name} is not aligned: put ${padding} bytes of padding before it`);
    const size = unit * (field.count ?? 1);
    placed.push({ ...field, offset, size });
    offset += size;
  }
  if (offset % 8 !== 0) throw new Error(`a record of ${offset} bytes is not a multiple of 8: add padding`);
  return { placed, size: offset };
}
