import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { capacityTables, nodeCores, readFigures, resultsOf, warehouses, withTables } from '../bench/capacity.ts';
import type { RequestCost } from '../bench/capacity.ts';
import { figure } from '../bench/figure.ts';
import type { Figure } from '../bench/figure.ts';
import { packageRoot } from '../schema/package-root.ts';

const document = readFileSync(join(packageRoot(), 'docs', 'capacity.md'), 'utf8');
const results = resultsOf(document);

/** A service of 4 events and 2 spans a request; 100 µs a request on its node, 50 µs an event in the warehouse. */
function measured(service: string): Figure[] {
  const notes = { service_cpu_us_a_request: 230, loader_cpu_us_a_request: 10, collector_cpu_us_a_request: 60, collector_mib: 100, loader_mib: 40, events_a_request: 4, socket_events_a_request: 4, network_bytes_an_event: 400 };
  const one = (name: string, variant: string, value: number, more: Record<string, number>): Figure => figure({ figure: name, variant, unit: '', values: [value], notes: more });
  return [
    one('service_throughput', `${service}, collect`, 4000, notes),
    one('service_throughput', `${service}, untraced`, 4300, { service_cpu_us_a_request: 200 }),
    one('collect_bytes', `${service}, --compress gzip`, 80, {}),
    one('warehouse_cpu', service, 50, { spans_an_event: 0.5, resident_mib: 512 }),
    one('warehouse_disk', `${service}, not compacted yet`, 100, {}),
  ];
}
const figures = [...measured('node'), ...measured('flask')];
const rows = (of: readonly Figure[]): string[][] => capacityTables(of).split('\n').filter((line) => line.startsWith('| Node.js')).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));

test.skipIf(results[0] === 'none')('the tables of docs/capacity.md are those of the results that it names (skipped while it names none)', () => {
  expect(withTables(document, results, capacityTables(readFigures(results.map((one) => join(packageRoot(), one)))))).toBe(document);
});

test('a request, a node and a cluster, by hand', () => {
  const [request, slow, , fast, ten, ...more] = rows(figures);
  // 230 - 200 µs in the service; 4 × 50 µs, 4 × 400 and 4 × 100 bytes.
  expect(request).toEqual(['Node.js', '4', '2', '30', '10', '60', '200', '1,600', '320', '400', 'not measured']);
  // 1,600 B × 100/s = 1.28 Mbit/s, 13.8 GB a day; 0.576 GB an hour.
  expect(slow).toEqual(['Node.js', '100', '0.01', '140', '1.3', '0.26', '14 GB', '2.8 GB', '0.58 GB']);
  expect(fast?.slice(0, 3)).toEqual(['Node.js', '5,000', '0.5']);
  // 1,000 requests/s: 0.2 cores.
  expect(ten).toEqual(['Node.js', '10', '100', '4,000', '0.2', '1', '0.5', '13', '2.6', '35 GB', 'not measured']);
  // 1,000 nodes of 1,000: 200 cores, 70 % of a core each.
  expect(more.at(-1)?.slice(0, 7)).toEqual(['Node.js', '1,000', '1,000', '4,000,000', '200', '286', '143']);
});

test('stored bytes are those of compacted segments and exported files where these were measured', () => {
  const stored = [
    figure({ figure: 'bytes_an_event', variant: 'DuckDB, without payload, real services', unit: 'bytes', values: [1], notes: { socket_events_each: 20, raw_files_each: 40 } }),
    figure({ figure: 'bytes_an_event', variant: 'Parquet, without payload, real services', unit: 'bytes', values: [1], notes: { socket_events_each: 20, messages_each: 10, socket_events_a_row: 7 } }),
    figure({ figure: 'bytes_a_span', variant: 'DuckDB, real services', unit: 'bytes', values: [1], notes: { derived_files_each: 60 } }),
    figure({ figure: 'bytes_a_span', variant: 'Parquet, real services', unit: 'bytes', values: [1], notes: { spans_each: 30 } }),
  ];
  expect(rows([...figures, ...stored])[0]?.slice(-2)).toEqual(['280', '180']);
});

test('spans follow socket events, where results tell, not wakes', () => {
  const [, , , cost] = measured('node') as [Figure, Figure, Figure, Figure];
  const told = { ...cost, notes: { ...cost.notes, spans_a_socket_event: 0.25 } };
  expect(rows(figures.map((one) => (one.figure === 'warehouse_cpu' && one.variant === 'node' ? told : one)))[0]?.[2]).toBe('1');
});

test('results without a figure that it takes are refused by name', () => {
  expect(() => capacityTables(figures.filter((one) => one.figure !== 'warehouse_cpu'))).toThrow('the results have no figure warehouse_cpu (node)');
});

test('CPU adds up to cores, and a warehouse is planned at less than a core', () => {
  const cost: RequestCost = { title: 'one', events: 4, spans: 2, hooks_us: 10, loader_us: 10, collector_us: 80, warehouse_us: 200, network_bytes: 0, packed_bytes: 0, disk_bytes: 0, parquet_bytes: null, node_mib: 0, warehouse_mib: 0 };
  expect(nodeCores(cost, 5000)).toBeCloseTo(0.5);
  expect(warehouses(cost, 10_000)).toEqual({ cores: 2, processes: 3 });
  expect(warehouses(cost, 1).processes).toBe(1);
});
