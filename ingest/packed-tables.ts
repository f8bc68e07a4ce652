// How tables are laid out in files that stay. What follows from another column is left out, ids that repeat without an order are
// dictionaries, and rows lie so that neighbours are alike. A view in the file itself gives the table back exactly as it was, so
// that no reader needs to know. DuckDB packs integers by their range and their runs only: a random 63-bit id costs 8 bytes a row
// wherever it is not the same as in the row before. What was tried, and figures: docs/adr/0019.

export interface Packing {
  /** Columns that pack and unpack name: a table without one of them is copied as it is. */
  readonly uses: readonly string[];
  /** Over the rows of one copy; times stay near each other, because a copy is of a short time. */
  readonly order: string;
  /** Select lists: the stored table to the packed one, and back. */
  readonly pack: string;
  readonly unpack: string;
  /** Whether a row comes back exactly; rows may come from anyone. */
  readonly fits?: string;
}

/** Raised when a layout changes: files of an older one are read by their own views, and copied through them. */
const LAYOUT = 1;

export const packedName = (table: string): string => `${table}_packed_${LAYOUT}`;
/** What the rows of a physical table are called. */
export const tableOfPacked = (name: string): string => name.replace(/_packed_\d+$/, '');

/** Sums and differences of two such numbers do not overflow. */
const SAFE = 4e18;
const within = (...columns: readonly string[]): string => columns.map((column) => `coalesce(${column} BETWEEN 0 AND ${SAFE}, false)`).join(' AND ');
const withinOrNull = (most: number, ...columns: readonly string[]): string => columns.map((column) => `coalesce(${column} BETWEEN 0 AND ${most}, true)`).join(' AND ');
const difference = (a: string, b: string): string => `${a} - ${b}`;

const WIRE = 4294967296; // tcp_seq counts modulo 2^32
const wireBase = (seq: string, offset: string): string => `(${seq} - ${offset} % ${WIRE} + ${WIRE}) % ${WIRE}`;
const wireSeq = (base: string, offset: string): string => `(${base} + ${offset} % ${WIRE}) % ${WIRE}`;
const byDirection = (written: string, read: string): string => `CASE WHEN op = 'write' THEN ${written} ELSE ${read} END`;

/** The other end's span id is this one's plus one of a few numbers (queries/correlate/10-exchanges.sql): a dictionary. */
const PEER_DISTANCE = 'CAST(peer_span_id - span_id AS VARCHAR) AS peer_distance';
const PEER = 'span_id + CAST(peer_distance AS BIGINT)';
const PEER_FITS = 'coalesce(span_id >= 0, false) AND coalesce(peer_span_id >= 0, true)';

const ids = (...columns: readonly string[]): string => columns.map((column) => `CAST(${column} AS VARCHAR) AS ${column}`).join(', ');
const idsBack = (type: 'BIGINT' | 'INTEGER', ...columns: readonly string[]): string => columns.map((column) => `CAST(${column} AS ${type}) AS ${column}`).join(', ');

const LAST_AS_FIRST = 'last_thread_id IS NOT DISTINCT FROM first_thread_id AND last_tid IS NOT DISTINCT FROM first_tid AND last_turn IS NOT DISTINCT FROM first_turn';
const LAST = ['last_thread_id', 'last_tid', 'last_turn'];

export const PACKINGS: Readonly<Record<string, Packing>> = {
  socket_events: {
    uses: ['ts_ns', 'mono_ns', 'socket_id', 'op', 'stream_offset', 'other_offset', 'tcp_seq', 'other_tcp_seq'],
    order: 'socket_id, ts_ns',
    pack: `* EXCLUDE (mono_ns, stream_offset, other_offset, tcp_seq, other_tcp_seq), ${difference('ts_ns', 'mono_ns')} AS clock_ns,
      ${byDirection('other_offset', 'stream_offset')} AS in_offset, ${byDirection('stream_offset', 'other_offset')} AS out_offset,
      ${byDirection(wireBase('other_tcp_seq', 'other_offset'), wireBase('tcp_seq', 'stream_offset'))} AS in_seq_base,
      ${byDirection(wireBase('tcp_seq', 'stream_offset'), wireBase('other_tcp_seq', 'other_offset'))} AS out_seq_base`,
    unpack: `* EXCLUDE (clock_ns, in_offset, out_offset, in_seq_base, out_seq_base), ${difference('ts_ns', 'clock_ns')} AS mono_ns,
      ${byDirection('out_offset', 'in_offset')} AS stream_offset, ${byDirection('in_offset', 'out_offset')} AS other_offset,
      ${byDirection(wireSeq('out_seq_base', 'out_offset'), wireSeq('in_seq_base', 'in_offset'))} AS tcp_seq,
      ${byDirection(wireSeq('in_seq_base', 'in_offset'), wireSeq('out_seq_base', 'out_offset'))} AS other_tcp_seq`,
    fits: `${within('ts_ns', 'mono_ns', 'stream_offset', 'other_offset')} AND ${withinOrNull(WIRE - 1, 'tcp_seq', 'other_tcp_seq')}`,
  },
  messages: {
    uses: ['ts_ns', 'mono_ns', 'end_ts_ns', 'socket_id', 'stream_offset', 'end_offset', 'first_thread_id', 'first_tid', 'first_turn', ...LAST],
    order: 'socket_id, ts_ns, stream_offset',
    pack: `* EXCLUDE (mono_ns, end_ts_ns, end_offset, ${LAST.join(', ')}), ${difference('ts_ns', 'mono_ns')} AS clock_ns, ${difference('end_ts_ns', 'ts_ns')} AS lasted_ns,
      ${difference('end_offset', 'stream_offset')} AS total_bytes, ${LAST_AS_FIRST} AS last_as_first, ${LAST.map((column) => `CASE WHEN NOT (${LAST_AS_FIRST}) THEN ${column} END AS ${column}`).join(', ')}`,
    unpack: `* EXCLUDE (clock_ns, lasted_ns, total_bytes, last_as_first, ${LAST.join(', ')}), ${difference('ts_ns', 'clock_ns')} AS mono_ns, ts_ns + lasted_ns AS end_ts_ns,
      stream_offset + total_bytes AS end_offset, ${LAST.map((column) => `CASE WHEN last_as_first THEN ${column.replace('last', 'first')} ELSE ${column} END AS ${column}`).join(', ')}`,
    fits: within('ts_ns', 'mono_ns', 'end_ts_ns', 'stream_offset', 'end_offset'),
  },
  thread_events: {
    uses: ['ts_ns', 'mono_ns', 'op', 'thread_id', 'target_thread_id', 'key'],
    order: 'op, target_thread_id, thread_id, ts_ns',
    pack: `* EXCLUDE (mono_ns, key), ${difference('ts_ns', 'mono_ns')} AS clock_ns, ${ids('key')}`,
    unpack: `* EXCLUDE (clock_ns, key), ${difference('ts_ns', 'clock_ns')} AS mono_ns, ${idsBack('BIGINT', 'key')}`,
    fits: within('ts_ns', 'mono_ns'),
  },
  exchanges: {
    uses: ['socket_id', 'start_ns', 'request_end_ns', 'answer_ns', 'end_ns', 'span_id', 'peer_span_id'],
    order: 'socket_id, start_ns',
    pack: `* EXCLUDE (peer_span_id, request_end_ns, answer_ns), ${PEER_DISTANCE},
      ${difference('request_end_ns', 'start_ns')} AS request_lasted_ns, ${difference('end_ns', 'answer_ns')} AS answer_lasted_ns`,
    unpack: `* EXCLUDE (peer_distance, request_lasted_ns, answer_lasted_ns), ${PEER} AS peer_span_id,
      start_ns + request_lasted_ns AS request_end_ns, ${difference('end_ns', 'answer_lasted_ns')} AS answer_ns`,
    fits: `${within('start_ns', 'end_ns')} AND ${withinOrNull(SAFE, 'request_end_ns', 'answer_ns')} AND ${PEER_FITS}`,
  },
  spans: {
    uses: ['trace_hi', 'trace_lo', 'start_ns', 'end_ns', 'first_byte_ns', 'span_id', 'parent_span_id', 'peer_span_id', 'process_id', 'thread_id', 'socket_id', 'pid', 'tid'],
    order: 'trace_hi, trace_lo, start_ns',
    pack: `* EXCLUDE (peer_span_id, parent_span_id, first_byte_ns, process_id, thread_id, socket_id, pid, tid), ${ids('process_id', 'thread_id', 'socket_id', 'pid', 'tid')},
      ${PEER_DISTANCE}, coalesce(parent_span_id = peer_span_id, false) AS parent_is_peer, CASE WHEN NOT coalesce(parent_span_id = peer_span_id, false) THEN parent_span_id END AS parent_span_id,
      ${difference('end_ns - start_ns', 'first_byte_ns')} AS after_first_byte_ns`,
    unpack: `* EXCLUDE (peer_distance, parent_is_peer, parent_span_id, after_first_byte_ns, process_id, thread_id, socket_id, pid, tid), ${idsBack('BIGINT', 'process_id', 'thread_id', 'socket_id')}, ${idsBack('INTEGER', 'pid', 'tid')},
      ${PEER} AS peer_span_id, CASE WHEN parent_is_peer THEN ${PEER} ELSE parent_span_id END AS parent_span_id,
      ${difference('end_ns - start_ns', 'after_first_byte_ns')} AS first_byte_ns`,
    fits: `${within('start_ns', 'end_ns')} AND ${withinOrNull(SAFE, 'first_byte_ns')} AND ${PEER_FITS}`,
  },
  span_links: {
    uses: ['start_ns', 'span_id', 'candidate_span_id', 'evidence', 'score'],
    order: 'start_ns, span_id, candidate_span_id, evidence',
    pack: '* EXCLUDE (score), CAST(score AS VARCHAR) AS score',
    unpack: '* EXCLUDE (score), CAST(score AS DOUBLE) AS score',
  },
};
