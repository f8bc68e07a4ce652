// Of the queries that ask sockets rather than spans.
import type { Row } from '../support/make-batch.ts';
import { at, type Moved } from '../support/told-story.ts';
import type { Case } from './stories.ts';

export const moved = (who: string, on: string, role: Moved['role'], op: string, ms: number, bytes = 0, more: Row = {}): Moved => ({ who, on, role, op, at: ms, bytes, more });
export const HOUR = 3_600_000;

export const SOCKET_STORIES: Readonly<Record<string, readonly Case[]>> = {
  'who-talks-across-namespaces': [
    {
      places: { shop: { netns: 1n }, stock: { netns: 2n }, near: { netns: 1n } },
      moved: [
        moved('shop', 'a', 'client', 'write', 0, 10), moved('stock', 'a', 'server', 'read', 1, 10), moved('stock', 'a', 'server', 'write', 2, 30), moved('shop', 'a', 'client', 'read', 3, 30),
        moved('shop', 'b', 'client', 'write', 0, 10), moved('near', 'b', 'server', 'read', 1, 10),
      ],
      expect: [{ client: 'shop', server: 'stock', client_netns: '1', server_netns: '2', connections: '1', bytes_to_server: '10', bytes_to_client: '30' }],
    },
    {
      // The number of a namespace means something on its node only.
      places: { shop: { netns: 1n }, far: { netns: 1n, node: 'node-2' } },
      moved: [moved('shop', 'a', 'client', 'write', 0, 10), moved('far', 'a', 'server', 'read', 1, 10)],
      expect: [{ client_node: 'node-1', server_node: 'node-2', server: 'far' }],
    },
  ],
  'bytes-per-container': [
    {
      places: { shop: { container_id: 'c1', cgroup: '/kubepods/pod01234567-89ab-cdef-0123-456789abcdef/c1' }, helper: { container_id: 'c1' }, stock: { container_id: 'c2' } },
      moved: [
        moved('shop', 'a', 'client', 'write', 0, 10), moved('shop', 'a', 'client', 'read', 1, 70), moved('helper', 'b', 'client', 'write', 1, 5),
        moved('shop', 'a', 'client', 'write', 1, 1000, { layer: 'tls' }), // the same bytes before they were encrypted
        moved('stock', 'a', 'server', 'close', 1),
      ],
      expect: [
        { container: 'c1', pod: '01234567-89ab-cdef-0123-456789abcdef', services: 'shop', bytes_in: '70', bytes_out: '10' },
        { container: 'c1', pod: null, services: 'helper', bytes_in: '0', bytes_out: '5' },
      ],
    },
  ],
  'connections-that-live-too-long': [
    {
      moved: [
        moved('shop', 'old', 'client', 'connect', 0), moved('shop', 'old', 'client', 'write', 2 * HOUR, 10),
        moved('shop', 'closed', 'client', 'connect', 0), moved('shop', 'closed', 'client', 'close', 0.5 * HOUR),
        moved('shop', 'young', 'client', 'connect', 1.5 * HOUR), moved('shop', 'young', 'client', 'write', 2 * HOUR, 1),
        moved('stock', 'old', 'server', 'accept', 0), moved('stock', 'old', 'server', 'read', 2 * HOUR, 10),
      ],
      expect: [{ service: 'shop', local: '10.0.0.1:40000', is_open: true, age_s: 7200, age_is_at_least: false, silent_s: 0 }],
    },
  ],
  'node-pairs-by-bytes': [
    {
      places: { far: { node: 'node-2' } },
      moved: [
        moved('shop', 'a', 'client', 'write', 0, 100), moved('far', 'a', 'server', 'read', 1, 100), moved('far', 'a', 'server', 'write', 2, 5000), moved('shop', 'a', 'client', 'read', 3, 5000),
        moved('shop', 'b', 'client', 'write', 0, 99_999), moved('near', 'b', 'server', 'read', 1, 99_999),
        moved('far', 'c', 'server', 'read', 1, 7),
      ],
      expect: [
        { client_node: 'node-1', server_node: 'node-2', connections: '1', bytes_to_server: '100', bytes_to_client: '5000' },
        { client_node: '10.0.0.1', server_node: 'node-2', bytes_to_server: '7', bytes_to_client: '0' },
      ],
    },
  ],
  'leaked-sockets': [
    {
      places: { ended: { ended_ns: at(500) } },
      moved: [
        moved('shop', 'leaked', 'server', 'state', 0, 0, { old_state: 1, new_state: 8 }),
        moved('shop', 'closed', 'server', 'state', 0, 0, { old_state: 1, new_state: 8 }), moved('shop', 'closed', 'server', 'close', 100),
        moved('shop', 'fresh', 'server', 'state', 110_000, 0, { old_state: 1, new_state: 8 }),
        moved('ended', 'gone', 'server', 'read', 0, 0, { flags: 2 }),
        moved('shop', 'open', 'server', 'read', 120_000, 10),
      ],
      expect: [{ service: 'shop', pid: 100, fd: 5, role: 'server', open_for_s: 120, leaked_by_process: '1' }],
    },
  ],
};
