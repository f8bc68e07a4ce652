// How tables are laid out in files that stay. What follows from another column is left out, ids that repeat without an order are
// dictionaries, and rows lie so that neighbours are alike. A view in the file itself gives the table back exactly as it was, so
// that no reader needs to know. DuckDB packs integers by their range and their runs only: a random 63-bit id costs 8 bytes a row
// wherever it is not the same as in the row before. What was tried, and figures: docs/adr/0019.

import { SPANS } from './packed-spans.ts';
import { PEER_DISTANCE, PEER_FITS, SAFE, within, withinOrNull } from './packing.ts';
import type { Packing } from './packing.ts';

export const packedName = (table: string): string => `${table}_packed_${(PACKINGS[table] as Packing).layout}`;
/** What the rows of a physical table are called. */
export const tableOfPacked = (name: string): string => name.replace(/_packed_\d+$/, '');

const difference = (a: string, b: string): string => `${a} - ${b}`;

const WIRE = 4294967296; // tcp_seq counts modulo 2^32
const wireBase = (seq: string, offset: string): string => `(${seq} - ${offset} % ${WIRE} + ${WIRE}) % ${WIRE}`;
const wireSeq = (base: string, offset: string): string => `(${base} + ${offset} % ${WIRE}) % ${WIRE}`;
const byDirection = (written: string, read: string): string => `CASE WHEN op = 'write' THEN ${written} ELSE ${read} END`;

const ids = (...columns: readonly string[]): string => columns.map((column) => `CAST(${column} AS VARCHAR) AS ${column}`).join(', ');

const LAST_AS_FIRST = 'last_thread_id IS NOT DISTINCT FROM first_thread_id AND last_tid IS NOT DISTINCT FROM first_tid AND last_turn IS NOT DISTINCT FROM first_turn';
const LAST = ['last_thread_id', 'last_tid', 'last_turn'];

export const PACKINGS: Readonly<Record<string, Packing>> = {
  socket_events: {
    layout: 1,
    uses: ['ts_ns', 'mono_ns', 'socket_id', 'op', 'stream_offset', 'other_offset', 'tcp_seq', 'other_tcp_seq'],
    order: 'socket_id, ts_ns',
    pieces_by: 'socket_id',
    pack: `* EXCLUDE (mono_ns, stream_offset, other_offset, tcp_seq, other_tcp_seq), ${difference('ts_ns', 'mono_ns')} AS clock_ns,
      ${byDirection('other_offset', 'stream_offset')} AS in_offset, ${byDirection('stream_offset', 'other_offset')} AS out_offset,
      ${byDirection(wireBase('other_tcp_seq', 'other_offset'), wireBase('tcp_seq', 'stream_offset'))} AS in_seq_base,
      ${byDirection(wireBase('tcp_seq', 'stream_offset'), wireBase('other_tcp_seq', 'other_offset'))} AS out_seq_base`,
    unpack: {
      mono_ns: difference('ts_ns', 'clock_ns'), stream_offset: byDirection('out_offset', 'in_offset'), other_offset: byDirection('in_offset', 'out_offset'),
      tcp_seq: byDirection(wireSeq('out_seq_base', 'out_offset'), wireSeq('in_seq_base', 'in_offset')), other_tcp_seq: byDirection(wireSeq('in_seq_base', 'in_offset'), wireSeq('out_seq_base', 'out_offset')),
    },
    fits: `${within('ts_ns', 'mono_ns', 'stream_offset', 'other_offset')} AND ${withinOrNull(WIRE - 1, 'tcp_seq', 'other_tcp_seq')}`,
  },
  messages: {
    layout: 1,
    uses: ['ts_ns', 'mono_ns', 'end_ts_ns', 'socket_id', 'stream_offset', 'end_offset', 'first_thread_id', 'first_tid', 'first_turn', ...LAST],
    order: 'socket_id, ts_ns, stream_offset',
    pieces_by: 'socket_id',
    pack: `* EXCLUDE (mono_ns, end_ts_ns, end_offset, ${LAST.join(', ')}), ${difference('ts_ns', 'mono_ns')} AS clock_ns, ${difference('end_ts_ns', 'ts_ns')} AS lasted_ns,
      ${difference('end_offset', 'stream_offset')} AS total_bytes, ${LAST_AS_FIRST} AS last_as_first, ${LAST.map((column) => `CASE WHEN NOT (${LAST_AS_FIRST}) THEN ${column} END AS ${column}`).join(', ')}`,
    unpack: {
      mono_ns: difference('ts_ns', 'clock_ns'), end_ts_ns: 'ts_ns + lasted_ns', end_offset: 'stream_offset + total_bytes',
      ...Object.fromEntries(LAST.map((column) => [column, `CASE WHEN last_as_first THEN ${column.replace('last', 'first')} ELSE ${column} END`])),
    },
    fits: within('ts_ns', 'mono_ns', 'end_ts_ns', 'stream_offset', 'end_offset'),
  },
  thread_events: {
    layout: 1,
    uses: ['ts_ns', 'mono_ns', 'op', 'thread_id', 'target_thread_id', 'key'],
    order: 'op, target_thread_id, thread_id, ts_ns',
    pack: `* EXCLUDE (mono_ns, key), ${difference('ts_ns', 'mono_ns')} AS clock_ns, ${ids('key')}`,
    unpack: { mono_ns: difference('ts_ns', 'clock_ns'), key: 'CAST(key AS BIGINT)' },
    fits: within('ts_ns', 'mono_ns'),
  },
  exchanges: {
    layout: 1,
    uses: ['socket_id', 'start_ns', 'request_end_ns', 'answer_ns', 'end_ns', 'span_id', 'peer_span_id'],
    order: 'socket_id, start_ns',
    pieces_by: 'socket_id',
    pack: `* EXCLUDE (peer_span_id, request_end_ns, answer_ns), ${PEER_DISTANCE},
      ${difference('request_end_ns', 'start_ns')} AS request_lasted_ns, ${difference('end_ns', 'answer_ns')} AS answer_lasted_ns`,
    unpack: { peer_span_id: 'span_id + CAST(peer_distance AS BIGINT)', request_end_ns: 'start_ns + request_lasted_ns', answer_ns: difference('end_ns', 'answer_lasted_ns') },
    fits: `${within('start_ns', 'end_ns')} AND ${withinOrNull(SAFE, 'request_end_ns', 'answer_ns')} AND ${PEER_FITS}`,
  },
  spans: SPANS,
  span_links: {
    layout: 1,
    uses: ['start_ns', 'span_id', 'candidate_span_id', 'evidence', 'score'],
    order: 'start_ns, span_id, candidate_span_id, evidence',
    pieces_by: 'start_ns',
    pack: '* EXCLUDE (score), CAST(score AS VARCHAR) AS score',
    unpack: { score: 'CAST(score AS DOUBLE)' },
  },
};
