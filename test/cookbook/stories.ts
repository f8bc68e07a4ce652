// For each query of the cookbook a story with what it must find, and with what looks like it and must not be found.
import { at, timeText, type Story, type Told } from '../support/told-story.ts';
import { HOUR, SOCKET_STORIES, moved } from './socket-stories.ts';

export interface Case extends Story {
  readonly params?: Readonly<Record<string, unknown>>;
  /** All rows, in order; of each the columns that matter. */
  readonly expect: readonly Readonly<Record<string, unknown>>[];
}

const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index));
/** A request to shop and the calls that it makes while it is open. */
const request = (from: number, calls: readonly Told[], more: Partial<Told> = {}): Told[] => [{ to: 'shop', at: from, ms: 100, path: '/orders', ...more }, ...calls.map((call) => ({ from: 'shop', ...call, at: from + call.at }))];
const stock = (more: Partial<Told> & { at: number }): Told => ({ to: 'stock', ms: 5, path: '/items', ...more });

export const STORIES: Readonly<Record<string, readonly Case[]>> = {
  ...SOCKET_STORIES,
  'slowest-database-calls': [
    {
      // A slow call to another service is none to a database.
      told: request(0, [{ at: 1, ms: 40, port: 5432, protocol: null }, stock({ at: 50, ms: 45 })]),
      expect: [{ caller: 'shop', database: 'PostgreSQL', server: '10.0.0.2:5432', calls: '1', max_ms: 40 }],
    },
    { told: request(0, [{ at: 1, ms: 40, port: 5432 }, { at: 50, ms: 7, port: 7777 }]), params: { port: 7777 }, expect: [{ database: 'port 7777', calls: '1' }] },
    { told: request(0, [{ at: 1, ms: 40, port: 5432 }]), params: { service: 'stock' }, expect: [] },
  ],
  'retried-calls': [
    {
      // Once more after an error; again though all was well; elsewhere after an error; at the same time; another request's.
      told: [
        ...request(0, [stock({ at: 1, status: 503 }), stock({ at: 10 }), stock({ at: 20, path: '/prices' }), stock({ at: 30, path: '/prices' }), stock({ at: 40, path: '/b', status: 503, on: 'x' }), { at: 50, ms: 5, to: 'other', path: '/b' }]),
        ...request(200, [stock({ at: 1, status: 500, path: '/last' })]),
        ...request(400, [stock({ at: 1, path: '/last' })]),
      ],
      expect: [{ caller: 'shop', operation: 'GET /items', requests_that_retry: '1', retries: '1', retries_that_helped: '1', given_up: '0', median_pause_ms: 4 }],
    },
    {
      // The client gave up on an answer, closed the connection, and asked again, in vain.
      told: request(0, [stock({ at: 1, status: null, on: 'first' }), stock({ at: 30, status: 500 })]),
      moved: [moved('shop', 'first', 'client', 'close', 20)],
      expect: [{ retries: '1', retries_that_helped: '0', given_up: '1', median_pause_ms: 10 }],
    },
  ],
  'calls-in-a-loop': [
    {
      // Seven one after another; as many at once; four.
      told: [
        ...request(0, many(7, (i) => stock({ at: 1 + i * 10, ms: 8, path: `/items/${i}` }))),
        ...request(200, many(7, (i) => stock({ at: 1 + i, ms: 50, path: `/at-once/${i}`, on: `c${i}` }))),
        ...request(400, many(4, (i) => stock({ at: 1 + i * 10, path: `/few/${i}` }))),
      ],
      expect: [{ service: 'shop', operation: 'GET /orders', called_operation: 'GET /items/{id}', requests: '1', median_calls: '7', most_calls: '7', share_of_request: 0.56 }],
    },
  ],
  'connections-opened-per-request': [
    {
      told: [
        ...many(6, (i) => stock({ from: 'shop', at: i * 10, connect_ms: 1 })),
        ...many(6, (i) => stock({ from: 'pooled', at: i * 10, on: 'kept', ...(i === 0 ? { connect_ms: 1 } : {}) })),
        ...many(3, (i) => stock({ from: 'rare', at: i * 10, connect_ms: 1 })),
      ],
      expect: [{ caller: 'shop', calls: '6', connections_opened: '6', connections_used: '6', opened_per_call: 1, connecting_ms: 6 }],
    },
  ],
  'what-changed-since-yesterday': [
    {
      params: { at: timeText(HOUR), hours: 1 },
      told: [
        ...many(6, (i) => ({ to: 'shop', at: i * 1000, ms: 10, path: '/slower' })), ...many(6, (i) => ({ to: 'shop', at: HOUR + i * 1000, ms: 30, path: '/slower' })),
        ...many(9, (i) => ({ to: 'shop', at: i * 1000 + 500, ms: 10, path: '/same' })), ...many(9, (i) => ({ to: 'shop', at: HOUR + i * 1000 + 500, ms: 10, path: '/same' })),
        { to: 'legacy', at: 5, ms: 10, path: '/old' },
        stock({ from: 'shop', at: HOUR + 7 }),
      ],
      expect: [
        { change: 'gone', what: 'service', name: 'legacy', before: '1', after: '0' },
        { change: 'gone', what: 'operation', name: 'legacy: GET /old' },
        { change: 'new', what: 'service', name: 'stock', before: '0', after: '1' },
        { change: 'new', what: 'operation', name: 'stock: GET /items' },
        { change: 'new', what: 'call', name: 'shop -> stock' },
        { change: 'slower', what: 'operation', name: 'shop: GET /slower', p50_ms_before: 9.98, p50_ms_after: 29.98 },
      ],
    },
  ],
  'errors-and-their-first-failing-dependency': [
    {
      told: [
        ...request(0, [stock({ at: 1, status: 500 }), { at: 10, ms: 5, to: 'late', path: '/x', status: 500 }], { status: 500 }),
        ...request(200, [stock({ at: 1 })], { status: 502 }),
        ...request(400, [stock({ at: 1, status: 404 })]),
        { to: 'healthy', at: 600, ms: 1 },
      ],
      expect: [
        { service: 'shop', operation: 'GET /orders', requests: '3', errors: '2', error_rate: 0.6667, first_failing_dependency: 'stock: GET /items', with_failed_call: '1', alone_failed: '1' },
        { service: 'late', errors: '1', first_failing_dependency: null },
        { service: 'stock', operation: 'GET /items', requests: '3', errors: '1', alone_failed: '1' },
      ],
    },
  ],
  'slowest-operations': [
    {
      told: [...many(9, (i) => ({ to: 'shop', at: i * 1000, ms: 10, path: `/orders/${i}` })), { to: 'shop', at: 9500, ms: 200, path: '/orders/9' }, { to: 'stock', at: 0, ms: 50 }, { from: 'stock', at: 300, ms: 900, path: '/call' }],
      expect: [
        { service: 'shop', operation: 'GET /orders/{id}', requests: '10', p50_ms: 9.98, max_ms: 199.98 },
        { service: 'stock', operation: 'GET /', requests: '1', p50_ms: 49.98 },
      ],
    },
    { told: many(5, (i) => ({ to: 'shop', at: i * 1000, ms: 10 })), params: { start: timeText(1000), end: timeText(3000), service: 'shop' }, expect: [{ requests: '2' }] },
  ],
  'self-time-per-service': [
    {
      // Two calls overlap by 20 ms: 60 of 100 are spent waiting.
      told: request(0, [stock({ at: 10, ms: 40, on: 'a' }), stock({ at: 30, ms: 40, on: 'b', to_thread: 7 })]),
      expect: [
        { service: 'stock', requests: '2', self_ms: 79.96, waiting_ms: 0 },
        { service: 'shop', requests: '1', total_ms: 99.98, self_ms: 39.98, waiting_ms: 60, waiting_outside_ms: 0.04 },
      ],
    },
  ],
  'requests-with-no-caller': [
    { told: request(0, [stock({ at: 1 })]), expect: [{ service: 'shop', operation: 'GET /orders', port: 8000, requests: '1', client_addresses: '1', most_from: '10.0.0.1', incomplete: '0' }] },
  ],
  'uncertain-links': [
    {
      // A thread of its own calls while two requests are open; a call on a request's own thread is certain.
      told: [{ to: 'shop', at: 0, ms: 50, to_thread: 1 }, { to: 'shop', at: 1, ms: 50, to_thread: 2 }, stock({ from: 'shop', at: 10, from_thread: 9 }), stock({ from: 'shop', at: 20, from_thread: 1 })],
      expect: [{ service: 'shop', evidence: 'undecided', calls: '1', mean_rejected: 2 }],
    },
  ],
  'traces-cut-by-losses': [
    {
      // One span is cut; one was over before, one is whole.
      told: [{ to: 'shop', at: 0, ms: 10, complete: false }, { to: 'shop', at: 1000, ms: 100, complete: false }, { to: 'shop', at: 2000, ms: 100 }],
      losses: [
        { cpu: 0, from_ns: at(1040), to_ns: at(1060), events_lost: 3n, cause: 'ring_full' }, { cpu: 1, from_ns: at(1050), to_ns: at(1070), events_lost: 4n, cause: 'ring_full' },
        { cpu: 1, from_ns: at(9000), to_ns: at(9001), events_lost: null, cause: 'spool_full' },
      ],
      expect: [
        { node: 'node-1', cause: 'ring_full', losses: '2', events_lost: '7', spans_cut: '1', traces_cut: '1', traces_of_node: '3' },
        { cause: 'spool_full', losses: '1', events_lost: null, spans_cut: '0', traces_cut: '0' },
      ],
    },
  ],
  'pool-exhaustion': [
    {
      // Two connections, three requests: the third has to wait until the first gives its connection back. The others never wait.
      told: [
        ...many(3, (i) => ({ to: 'shop', at: i, ms: 100, to_thread: i + 1 })),
        stock({ from: 'shop', at: 5, ms: 30, on: 'a', from_thread: 1 }), stock({ from: 'shop', at: 6, ms: 40, on: 'b', from_thread: 2 }), stock({ from: 'shop', at: 35.2, ms: 30, on: 'a', from_thread: 3 }),
        stock({ from: 'shop', at: 80, ms: 5, on: 'b', from_thread: 1 }),
      ],
      expect: [{ caller: 'shop', pool_size: '2', calls: '4', calls_that_took_the_last: '2', calls_that_waited: '1', waited_at_most_ms: 33.19 }],
    },
    {
      // One request after another on the only connection: nobody waits.
      told: [{ to: 'shop', at: 0, ms: 10 }, stock({ from: 'shop', at: 1, ms: 8.5, on: 'a' }), { to: 'shop', at: 10.1, ms: 10 }, stock({ from: 'shop', at: 10.2, ms: 8, on: 'a' })],
      expect: [],
    },
  ],
  'calls-leaving-the-cluster': [
    {
      told: request(0, [{ at: 1, ms: 10, address: '203.0.113.7', port: 443, host: 'api.example' }, { at: 20, ms: 10, address: '203.0.113.8', port: 443, host: 'api.example', status: 500 }, stock({ at: 50 })]),
      expect: [{ caller: 'shop', host: 'api.example', port: 443, addresses: '2', calls: '2', errors: '1' }],
    },
  ],
  'slow-connects': [
    {
      told: [stock({ from: 'shop', at: 50, connect_ms: 30 }), stock({ from: 'shop', at: 70, connect_ms: 1 }), { from: 'quick', to: 'other', at: 50, ms: 5, connect_ms: 1 }],
      expect: [{ caller: 'shop', calls: '2', connects: '2', slow_connects: '1', slow_first_bytes: '1' }],
    },
  ],
  'error-bursts': [
    {
      // One error a minute is usual; in the third minute there are eight. Another service fails twice.
      told: [
        ...many(5, (minute) => many(10, (i) => ({ to: 'shop', at: minute * 60_000 + i * 100, ms: 10, status: i < (minute === 2 ? 8 : 1) ? 500 : 200 }))).flat(),
        ...many(4, (i) => ({ to: 'stock', at: i * 100, ms: 10, status: i < 2 ? 500 : 200 })),
      ],
      params: { times: 3 },
      expect: [{ service: 'shop', requests: '10', errors: '8', error_rate: 0.8, usual_errors: 1, most_failing_operation: 'GET /' }],
    },
  ],
};
