// The raw relations as they travel in Arrow batches and as they are stored, defined once.
// The Arrow schema (ingest/arrow-schema.ts), the DuckDB tables, and the data dictionary follow from this table.
// Storage types are the few that every engine and every Parquet reader gets right; the views give them
// their public types (hex ids, TIMESTAMP_NS).

/**
 * int64 BIGINT, int32 INTEGER, bool BOOLEAN, text VARCHAR, dict VARCHAR that repeats (dictionary-encoded in Arrow),
 * blob BLOB. Ids and times are int64: non-negative 63-bit ids, nanoseconds.
 */
export type ColumnType = 'int64' | 'int32' | 'bool' | 'text' | 'dict' | 'blob';

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
  readonly unit?: string;
  readonly doc: string;
  /** The usual ones of a dict column; others may come. */
  readonly values?: readonly string[];
}

export interface Relation {
  readonly doc: string;
  readonly columns: readonly Column[];
}

/** Raised when a column is added; older batches and segments stay readable, the missing columns are null. */
export const SCHEMA_VERSION = 1;

const col = (name: string, type: ColumnType, doc: string, unit?: string): Column => ({ name, type, nullable: false, doc, ...(unit === undefined ? {} : { unit }) });
const opt = (name: string, type: ColumnType, doc: string, unit?: string): Column => ({ name, type, nullable: true, doc, ...(unit === undefined ? {} : { unit }) });

/** A dict column whose values are mostly these. */
const usually = (column: Column, ...values: string[]): Column => ({ ...column, values });

/** Columns of a batch itself: one row of the Arrow file is one batch. */
export const BATCH_COLUMNS: readonly Column[] = [
  col('schema_version', 'int32', 'SCHEMA_VERSION of the writer'),
  col('node', 'text', 'name of the node'),
  col('boot_id', 'text', 'the kernel boot that mono_ns counts from'),
  col('run_id', 'int64', 'one start of a collector, ns since 1970'),
  col('sequence', 'int64', 'number of the batch in its run, from 1 without a gap'),
  col('mono_ns', 'int64', 'clock pair: CLOCK_MONOTONIC', 'ns'),
  col('utc_ns', 'int64', 'clock pair: UTC at mono_ns', 'ns since 1970'),
  col('error_ns', 'int64', 'clock pair: uncertainty', 'ns'),
  col('watermark_ns', 'int64', 'no row older than this (UTC ns by this clock pair) follows from this run', 'ns since 1970'),
  col('final', 'bool', 'the run ended in order with this batch'),
];

/** Columns that the warehouse adds in front of every row of a batch. */
export const ORIGIN_COLUMNS: readonly Column[] = [
  col('node', 'dict', 'name of the node'),
  col('boot_id', 'dict', 'the kernel boot that mono_ns counts from'),
  col('run_id', 'int64', 'one start of a collector, ns since 1970'),
];

export const RELATIONS = {
  socket_events: {
    doc: 'Every successful call on a TCP or Unix stream socket and every change of its state, as the kernel saw it.',
    columns: [
      col('ts_ns', 'int64', 'mono_ns mapped to UTC by the clock pair of its batch', 'ns since 1970'),
      col('mono_ns', 'int64', 'CLOCK_MONOTONIC', 'ns'),
      opt('pid', 'int32', 'thread group id in the root pid namespace'),
      opt('tid', 'int32', 'thread id in the root pid namespace'),
      opt('process_id', 'int64', 'process: pid plus start time, never reused'),
      opt('thread_id', 'int64', 'thread: tid plus start time, never reused; null where the hook cannot tell'),
      opt('comm', 'dict', 'name of the thread'),
      col('socket_id', 'int64', 'one socket of one boot'),
      opt('conn_id', 'int64', 'the connection: equal at both ends, through NAT too'),
      opt('peer_socket_id', 'int64', 'Unix sockets: the socket at the other end'),
      opt('fd', 'int32', 'file descriptor in the calling process'),
      usually(col('op', 'dict', "'connect','accept','read','write','shutdown','state','close','exist'"), 'connect', 'accept', 'read', 'write', 'shutdown', 'state', 'close', 'exist'),
      col('bytes', 'int64', 'bytes moved by the call', 'bytes'),
      col('stream_offset', 'int64', 'first byte of this event in its own direction (reads: received, writes: sent)', 'bytes'),
      opt('tcp_seq', 'int64', 'wire sequence number of that byte'),
      col('other_offset', 'int64', 'application bytes so far in the other direction', 'bytes'),
      opt('other_tcp_seq', 'int64', 'wire sequence number reached there'),
      opt('local_ip', 'dict', 'text form'),
      opt('local_port', 'int32', ''),
      opt('remote_ip', 'dict', 'text form'),
      opt('remote_port', 'int32', ''),
      usually(opt('role', 'dict', "'client' opened the connection, 'server' accepted it"), 'client', 'server'),
      opt('netns', 'int64', 'inode of the network namespace'),
      opt('cgroup_id', 'int64', 'cgroup v2 id'),
      opt('turn', 'int64', 'times this thread has entered epoll_wait, poll, select and their kin'),
      opt('task_id', 'int64', 'goroutine and the like; with flag 256 that of who asked for the write'),
      opt('parent_task_id', 'int64', ''),
      opt('stack_id', 'int64', 'hash of the user stack, see stacks'),
      usually(col('layer', 'dict', "'socket' or 'tls'"), 'socket', 'tls'),
      opt('errno', 'int32', 'error of the call or of the connection'),
      col('flags', 'int32', 'bit set: 1 payload truncated, 2 end of stream, 4 older than the collector, 8 thread unknown, 16 io_uring, 32 payload shed, 64 Unix, 128 offsets relative, 256 task of the caller'),
      opt('old_state', 'int32', 'TCP state before a state change'),
      opt('new_state', 'int32', 'TCP state after it'),
      opt('payload', 'blob', 'first bytes of the call; dropped after parsing unless asked for'),
      col('payload_truncated', 'bool', 'payload holds less than bytes'),
    ],
  },
  messages: {
    doc: 'One row a protocol message at one end of a connection, found by the parsers at ingest.',
    columns: [
      col('ts_ns', 'int64', 'event that carried the first byte', 'ns since 1970'),
      col('end_ts_ns', 'int64', 'event that carried the last byte seen', 'ns since 1970'),
      col('mono_ns', 'int64', 'of the first byte', 'ns'),
      col('socket_id', 'int64', ''),
      opt('conn_id', 'int64', ''),
      opt('peer_socket_id', 'int64', 'Unix sockets'),
      opt('process_id', 'int64', 'process that moved the first byte'),
      opt('pid', 'int32', ''),
      usually(opt('role', 'dict', "'client' or 'server': the socket's role"), 'client', 'server'),
      usually(col('direction', 'dict', "'in' = read by this process, 'out' = written"), 'in', 'out'),
      usually(col('kind', 'dict', "'request', 'response', or 'connect' for a connection that failed to open"), 'request', 'response', 'connect'),
      usually(opt('protocol', 'dict', "'http' or null when the bytes were not understood"), 'http'),
      col('exchange_no', 'int64', 'request and response of one exchange share it: a count on the socket, from 0; negative = response without a request'),
      col('stream_offset', 'int64', 'first byte in its direction', 'bytes'),
      col('end_offset', 'int64', 'one past the last byte', 'bytes'),
      col('head_bytes', 'int64', 'start line and fields', 'bytes'),
      opt('first_thread_id', 'int64', 'thread that moved the first byte'),
      opt('first_tid', 'int32', ''),
      opt('first_turn', 'int64', "that thread's turn then"),
      opt('last_thread_id', 'int64', 'thread that moved the last byte'),
      opt('last_tid', 'int32', ''),
      opt('last_turn', 'int64', ''),
      opt('task_id', 'int64', 'goroutine and the like, at the first byte (the second of what is read, as Go reads one ahead); of a request, who asked for it'),
      opt('parent_task_id', 'int64', ''),
      opt('comm', 'dict', ''),
      opt('fd', 'int32', ''),
      opt('cgroup_id', 'int64', ''),
      opt('netns', 'int64', ''),
      opt('local_ip', 'dict', ''),
      opt('local_port', 'int32', ''),
      opt('remote_ip', 'dict', ''),
      opt('remote_port', 'int32', ''),
      opt('connect_ts_ns', 'int64', 'first request of a socket that this process opened: when it called connect', 'ns since 1970'),
      opt('connect_thread_id', 'int64', 'who called connect'),
      opt('connect_turn', 'int64', ''),
      usually(opt('method', 'dict', 'HTTP request method'), 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE'),
      opt('path', 'text', 'HTTP path without its query'),
      opt('status', 'int32', 'HTTP status code'),
      opt('host', 'dict', 'HTTP Host'),
      usually(opt('http_version', 'dict', "'1.0' or '1.1'"), '1.0', '1.1'),
      opt('content_length', 'int64', '', 'bytes'),
      opt('traceparent', 'text', 'W3C trace context as it came'),
      opt('request_id', 'text', 'X-Request-Id as it came'),
      opt('errno', 'int32', 'failed connect, reset'),
      usually(col('end_reason', 'dict', "'length','chunked','no_body','close','reset','next' (the next message began),'gap','open','refused','stop'"), 'length', 'chunked', 'no_body', 'close', 'reset', 'next', 'gap', 'open', 'refused', 'stop'),
      col('complete', 'bool', 'false: a loss, a cut or missing bytes touch it'),
      col('partial', 'bool', 'true: still open when its batch was cut; the finished row follows'),
    ],
  },
  thread_events: {
    doc: 'Life of threads, and wakes between threads of one process in task context.',
    columns: [
      col('ts_ns', 'int64', '', 'ns since 1970'),
      col('mono_ns', 'int64', '', 'ns'),
      opt('process_id', 'int64', ''),
      opt('thread_id', 'int64', 'who did it'),
      usually(col('op', 'dict', "'fork','exec','exit','wake'"), 'fork', 'exec', 'exit', 'wake'),
      opt('target_thread_id', 'int64', 'the forked or woken thread'),
      opt('target_process_id', 'int64', "fork: the child's process"),
      opt('comm', 'dict', ''),
      col('in_irq', 'bool', 'a wake from an interrupt says nothing about the current thread'),
      opt('key', 'int64', 'futex, eventfd or pipe, where known'),
    ],
  },
  processes: {
    doc: 'What /proc says of a process; the newest row of a process_id counts.',
    columns: [
      col('ts_ns', 'int64', 'when the row was made', 'ns since 1970'),
      col('process_id', 'int64', ''),
      opt('pid', 'int32', ''),
      opt('ns_pid', 'int32', 'pid in the innermost pid namespace'),
      opt('ppid', 'int32', ''),
      opt('started_ns', 'int64', '', 'ns since 1970'),
      opt('ended_ns', 'int64', 'null = running', 'ns since 1970'),
      opt('exe', 'dict', ''),
      opt('cmdline', 'text', 'arguments, separated by spaces'),
      opt('container_id', 'dict', ''),
      opt('cgroup', 'dict', 'cgroup v2 path'),
      opt('netns', 'int64', ''),
      opt('service_name', 'dict', ''),
      opt('service_rule', 'dict', "what named it: 'env','container','unit','script','exe','port'"),
    ],
  },
  losses: {
    doc: 'What was not recorded, where, when and why.',
    columns: [
      opt('cpu', 'int32', 'null = all'),
      col('from_ns', 'int64', '', 'ns since 1970'),
      col('to_ns', 'int64', '', 'ns since 1970'),
      opt('events_lost', 'int64', 'null = not countable'),
      col('cause', 'dict', "'ring_full','payload_shed','wake_shed','connection_shed','not_running','not_received','spool_full','undecodable','parser_gap','hook_missed','state_missed','turn_missed'"),
    ],
  },
  clocks: {
    doc: 'Pairs of clock readings: what ts was derived from.',
    columns: [
      col('mono_ns', 'int64', '', 'ns'),
      col('utc_ns', 'int64', '', 'ns since 1970'),
      col('error_ns', 'int64', '', 'ns'),
    ],
  },
  stacks: {
    doc: 'User stacks of writers.',
    columns: [
      col('stack_id', 'int64', 'hash of the frames'),
      col('frames', 'text', 'build_id+offset, innermost first, separated by ;'),
    ],
  },
} as const satisfies Record<string, Relation>;

export type RelationName = keyof typeof RELATIONS;
export const RELATION_NAMES = Object.keys(RELATIONS) as RelationName[];

export const SQL_TYPES = {
  int64: 'BIGINT',
  int32: 'INTEGER',
  bool: 'BOOLEAN',
  text: 'VARCHAR',
  dict: 'VARCHAR',
  blob: 'BLOB',
} as const satisfies Record<ColumnType, string>;
