// Whatever a client of Jaeger's or Tempo's API writes into a parameter is its own fault, never ours.
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { keptFolder } from './support/temporary-folder.ts';

interface Parameter { readonly name: string; readonly in: string; readonly required?: boolean; readonly example?: string; readonly schema: { readonly examples?: readonly string[] } }
type Paths = Record<string, { get?: { readonly tags?: readonly string[]; readonly parameters?: readonly Parameter[] } }>;

/** Written as they are: no text encodes to them. */
const BROKEN = ['%00', '%ED%A0%80', '%FF'];
const NONSENSE = [...BROKEN, '-1', '1e309', '9223372036854775807', '99999999999999999999', "'; DROP TABLE spans; --", '$."', '{"a":{"b":[1]}}', '{"\\u0000\\"":"x"}', '{ . = ', '{ span."\\"" = 9223372036854775808 && duration > 9999999h }', '{name=~"[\\\\C"}', 'a='.repeat(400), '2262-04-11T23:47:16.854775807Z', '0'];

const { folder, remove } = keptFolder();
let warehouse: Warehouse;
let app: FastifyInstance;
const logged: string[] = [];

beforeAll(async () => {
  const shop = await shopWarehouse(folder);
  ({ warehouse } = shop);
  app = buildApp({ warehouse, correlator: shop.correlator }, { now_ns: () => NOW_NS, log: (line) => logged.push(line) });
});

afterAll(async () => {
  await app.close();
  await warehouse.close();
  remove();
});

test('every parameter, with nonsense in it', async () => {
  const { paths } = (await app.inject('/openapi.json')).json() as { paths: Paths };
  const routes = Object.entries(paths).filter(([path, { get }]) => ['jaeger', 'tempo'].includes(get?.tags?.[0] ?? '') && !path.startsWith('/jaeger'));
  const seen = new Map<number, number>();
  for (const [path, { get }] of routes) {
    for (const tried of get?.parameters ?? []) {
      for (const nonsense of NONSENSE) {
        const value = (parameter: Parameter): string => (parameter === tried ? (BROKEN.includes(nonsense) ? nonsense : encodeURIComponent(nonsense)) : encodeURIComponent(parameter.example ?? parameter.schema.examples?.[0] ?? ''));
        let url = path;
        const query: string[] = [];
        for (const parameter of get?.parameters ?? []) {
          if (parameter.in === 'path') url = url.replace(`{${parameter.name}}`, value(parameter));
          else if (parameter === tried || parameter.required === true) query.push(`${parameter.name}=${value(parameter)}`);
        }
        const { statusCode, body } = await app.inject(`${url}?${query.join('&')}`);
        expect(statusCode, `${path} ${tried.name}=${nonsense}: ${body.slice(0, 200)} ${logged.join()}`).toBeLessThan(500);
        seen.set(statusCode, (seen.get(statusCode) ?? 0) + 1);
      }
    }
  }
  expect([...seen.keys()].toSorted()).toEqual([200, 400, 404, 414]);
  expect(logged).toEqual([]);
}, 120_000);
