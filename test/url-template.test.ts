// What varies in a path, and that the quick way to it finds the same as taking each segment apart.
import { DuckDBInstance } from '@duckdb/node-api';
import { expect, test } from 'vitest';
import { URL_TEMPLATE_MACROS } from '../queries/url-template.ts';
import { seededRandom } from '../queries/timing/resolve-service.ts';

async function templates(paths: readonly string[]): Promise<{ found: string; by_segment: string }[]> {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await connection.run(URL_TEMPLATE_MACROS);
    const values = paths.map((path, at) => `(${at}, '${path.replaceAll("'", "''")}')`).join(', ');
    const rows = await connection.runAndReadAll(`SELECT url_template(path, quick), templated_segments(path) FROM (SELECT nth, path, quick_template(path) AS quick FROM (VALUES ${values}) v(nth, path)) ORDER BY nth`);
    return (rows.getRows() as [string, string][]).map(([found, by_segment]) => ({ found, by_segment }));
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

test.each([
  ['/cart/42', '/cart/{id}'], ['/cart/42/items/7', '/cart/{id}/items/{id}'], ['/1/2/3/', '/{id}/{id}/{id}/'], ['/v1/oauth2/token', '/v1/oauth2/token'], ['/', '/'], ['*', '*'],
  ['/users/3f2504e0-4f89-11d3-9a0c-0305e82c3301', '/users/{id}'], ['/deadbeef/dead1beef', '/deadbeef/{id}'], ['/a1b2c3', '/a1b2c3'], ['/item-12/order_7/x:9', '/{id}/{id}/{id}'],
  ['/items/12ab', '/items/12ab'], ['/files/Zk3vQ9xT7pLm', '/files/{id}'], ['/files/Zk3vQ9xT7', '/files/Zk3vQ9xT7'], ['/2024-01-02/report.2024', '/{id}/{id}'],
  ['http://host-1/cart/42', 'http://{id}/cart/{id}'], ['/{id}x/5', '/{id}x/{id}'], ['/12345678z', '/12345678z'],
  ['/load/26-3208', '/load/{id}'], ['/1_2:3/1.2.3/12-3x', '/{id}/1.2.3/12-3x'], ['/12-/-12', '/12-/-12'],
])('%s is %s', async (path, template) => {
  expect(await templates([path])).toEqual([{ found: template, by_segment: template }]);
});

test('the quick way finds the same for ten thousand paths', async () => {
  const random = seededRandom(5);
  const pick = (from: string): string => from[Math.floor(random() * from.length)] as string;
  const letters = ['0123456789', '0123456789abcdef', 'abcdef-', 'abcXYZ012-_:.', '/', 'ab1', '{id}'];
  const path = (): string => Array.from({ length: 1 + Math.floor(random() * 6) }, () => {
    const from = letters[Math.floor(random() * letters.length)] as string;
    return (random() < 0.8 ? '/' : '') + Array.from({ length: Math.floor(random() * 16) }, () => pick(from)).join('');
  }).join('');
  const paths = Array.from({ length: 10_000 }, path);
  for (const [at, { found, by_segment }] of (await templates(paths)).entries()) expect(found, paths[at]).toBe(by_segment);
});
