// How spans are laid out in files that stay (packed-tables.ts): two dictionaries of what a socket and a thread always say, ids of
// requests counted from the first of their socket, and paths without what their template says.
import { PEER_DISTANCE, PEER_FITS, SAFE, within, withinOrNull } from './packing.ts';
import type { Packing } from './packing.ts';

/** A span id is linear in the position of its request, modulo two primes (queries/correlate/10-exchanges.sql): */
const [HIGH, HIGH_STEP, LOW_STEP] = [2147483647, 69069, 1073741827];
/** 1 / HIGH_STEP modulo HIGH: from two ids of a socket the distance of their requests. */
const HIGH_INVERSE = 567364253;
const LOW_BITS = 4294967296n;
/** From one request to another four bytes further on, unless a half wraps around: LOW_STEP is a quarter of its modulus, and some. */
const STEP = 4n * (BigInt(HIGH_STEP) * LOW_BITS + BigInt(LOW_STEP)) - 4294967291n;
/** Bytes of a socket that count from one id: more steps than that overflow. */
const WINDOW = 16384;

/** Of a request from the first one of its socket, in bytes. */
const DISTANCE = `(span_id // ${LOW_BITS} - first_id // ${LOW_BITS} + ${HIGH}) % ${HIGH} * ${HIGH_INVERSE} % ${HIGH}`;
const SAME_SIDE = 'socket_id IS NOT DISTINCT FROM of_socket AND is_server IS NOT DISTINCT FROM of_side';

const SEPARATOR = '|';
/** As one text: the last part may be null, and is left out then. */
const joined = (numbers: readonly string[], text: string): string => `concat_ws('${SEPARATOR}', ${numbers.map((name) => `coalesce(CAST(${name} AS VARCHAR), '')`).join(', ')}, ${text})`;
const part = (list: string, at: number, type: 'BIGINT' | 'INTEGER'): string => `TRY_CAST(${list}[${at}] AS ${type})`;
const joins = (...names: readonly string[]): string => names.map((name) => `NOT coalesce(contains(${name}, '${SEPARATOR}'), false)`).join(' AND ');

const PATH_ID = "substring(path, instr(url_template, '{id}'), length(path) - length(url_template) + 4)";
const withId = (id: string): string => `replace(url_template, '{id}', ${id})`;

const PEER_IS_PARENT = 'coalesce(parent_span_id = peer_span_id, false)';

export const SPANS: Packing = {
  layout: 2,
  uses: [
    'trace_hi', 'trace_lo', 'start_ns', 'end_ns', 'first_byte_ns', 'span_id', 'parent_span_id', 'peer_span_id', 'is_server', 'process_id', 'thread_id', 'pid', 'tid',
    'socket_id', 'fd', 'local_ip', 'local_port', 'remote_ip', 'remote_port', 'path', 'url_template',
  ],
  order: 'trace_hi, trace_lo, start_ns',
  pieces_by: 'trace_hi',
  // The bases are found on narrow rows and joined: windows over whole rows would write each of them twice.
  over: (rows) => `(SELECT * EXCLUDE (first_id, of_socket, of_side, in_part, part_distance), CASE WHEN counts THEN base_id ELSE span_id END AS span_base, CASE WHEN counts THEN steps ELSE 0 END AS span_steps,
      CASE WHEN counts THEN CAST(CAST(span_id AS HUGEINT) - base_id - steps * ${STEP} AS VARCHAR) ELSE '0' END AS span_rest FROM (
    SELECT *, TRY_CAST(CAST(span_id AS HUGEINT) - base_id - steps * ${STEP} AS BIGINT) IS NOT NULL AS counts FROM (
    WITH firsts AS MATERIALIZED (SELECT socket_id AS of_socket, is_server AS of_side, arg_min(span_id, start_ns) AS first_id FROM ${rows} GROUP BY ALL),
    bases AS MATERIALIZED (SELECT of_socket, of_side, distance // ${WINDOW} AS in_part, arg_min(span_id, distance) AS base_id, min(distance) AS part_distance
      FROM (SELECT of_socket, of_side, span_id, ${DISTANCE} AS distance FROM (SELECT socket_id, is_server, span_id FROM ${rows}) JOIN firsts ON ${SAME_SIDE}) GROUP BY ALL)
    SELECT s.*, base_id, in_part, part_distance, (distance - part_distance) // 4 AS steps
    FROM (SELECT *, ${DISTANCE} AS distance FROM ${rows} JOIN firsts ON ${SAME_SIDE}) s
    JOIN bases b ON b.of_socket IS NOT DISTINCT FROM s.of_socket AND b.of_side IS NOT DISTINCT FROM s.of_side AND in_part IS NOT DISTINCT FROM distance // ${WINDOW})))`,
  pack: `trace_id, trace_start, trace_hi, trace_lo, ${joined(['socket_id', 'fd', 'local_port', 'remote_port', 'span_base'], 'remote_ip')} AS socket, span_steps, span_rest,
    ${PEER_DISTANCE}, ${PEER_IS_PARENT} AS parent_is_peer, CASE WHEN NOT ${PEER_IS_PARENT} THEN parent_span_id END AS parent_span_id,
    ${joined(['process_id', 'thread_id', 'pid', 'tid'], 'local_ip')} AS thread,
    CASE WHEN ${withId("''")} = path THEN '' WHEN ${withId(PATH_ID)} = path THEN ${PATH_ID} END AS path_id,
    CASE WHEN coalesce(${withId("''")} = path OR ${withId(PATH_ID)} = path, false) THEN NULL ELSE path END AS path,
    CAST(end_ns - start_ns - first_byte_ns AS VARCHAR) AS after_first_byte_ns,
    * EXCLUDE (trace_id, trace_start, trace_hi, trace_lo, span_id, peer_span_id, parent_span_id, first_byte_ns, path, socket_id, fd, local_ip, local_port, remote_ip, remote_port,
      process_id, thread_id, pid, tid, span_base, span_steps, span_rest, base_id, steps, counts, distance)`,
  inner: `string_split(socket, '${SEPARATOR}') AS of_socket, string_split(thread, '${SEPARATOR}') AS of_thread, CAST(peer_distance AS BIGINT) AS to_peer,
    span_steps * ${STEP} + CAST(span_rest AS BIGINT) + CAST((string_split(socket, '${SEPARATOR}'))[5] AS BIGINT) AS span_id`,
  unpack: {
    peer_span_id: 'span_id + to_peer',
    parent_span_id: 'CASE WHEN parent_is_peer THEN span_id + to_peer ELSE parent_span_id END',
    socket_id: part('of_socket', 1, 'BIGINT'), fd: part('of_socket', 2, 'INTEGER'), local_port: part('of_socket', 3, 'INTEGER'), remote_port: part('of_socket', 4, 'INTEGER'), remote_ip: 'of_socket[6]',
    process_id: part('of_thread', 1, 'BIGINT'), thread_id: part('of_thread', 2, 'BIGINT'), pid: part('of_thread', 3, 'INTEGER'), tid: part('of_thread', 4, 'INTEGER'),
    local_ip: 'of_thread[5]',
    path: `coalesce(path, ${withId('path_id')})`,
    first_byte_ns: 'end_ns - start_ns - CAST(after_first_byte_ns AS BIGINT)',
  },
  fits: `${within('start_ns', 'end_ns')} AND ${withinOrNull(SAFE, 'first_byte_ns')} AND ${PEER_FITS} AND ${joins('remote_ip', 'local_ip')}`,
};
