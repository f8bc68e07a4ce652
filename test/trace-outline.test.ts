// A trace that is too big to be given whole: the answer is a top without holes, says what it lacks, and leads to it.
import type { FastifyInstance } from 'fastify';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { chooseSpans } from '../api/lookups/trace-outline.ts';
import type { Span, Trace } from '../api/trace-json.ts';
import { Warehouse } from '../ingest/warehouse.ts';
import { BIG_TRACE_ID, bigTrace, spanId, storeSpans } from './support/stored-spans.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const SPANS = 50_000;
/** Of what a default answer may take, with room for a busy machine. */
const [MOST_MS, MOST_BYTES] = [10_000, 400 * 1024 * 1024];

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function appWith(rows: string): Promise<FastifyInstance> {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 1 });
  await storeSpans(warehouse, rows);
  const app = buildApp({ warehouse });
  closing.push(() => app.close(), () => warehouse.close());
  return app;
}

async function get<T>(app: FastifyInstance, url: string, status = 200): Promise<T> {
  const answer = await app.inject(url);
  expect(answer.statusCode, answer.body.slice(0, 500)).toBe(status);
  return answer.json() as T;
}

const URL = `/api/v1/traces/${BIG_TRACE_ID}`;

/** Every span but the top ones has its parent in the answer, and each says rightly how many of its children are not. */
function expectNoHoles({ spans }: Trace, tops: number): void {
  const ids = new Set(spans.map(({ span_id }) => span_id));
  expect(spans.filter(({ parent_span_id }) => parent_span_id === null || !ids.has(parent_span_id))).toHaveLength(tops);
  const taken = new Map<string, number>();
  for (const { parent_span_id } of spans) if (parent_span_id !== null) taken.set(parent_span_id, (taken.get(parent_span_id) ?? 0) + 1);
  expect(spans.filter((span) => span.children_count - span.children_omitted !== (taken.get(span.span_id) ?? 0))).toEqual([]);
}

describe('50,000 spans', () => {
  test.each([
    ['a deep chain', 'CASE WHEN i > 1 THEN i - 1 END', 1],
    ['a wide fan', 'CASE WHEN i > 1 THEN 1 END', 40_000],
    ['a tree', 'CASE WHEN i > 1 THEN i // 2 END', 1],
  ] as const)('%s: the top of it, in bounded time and memory', async (_shape, parent, most_omitted) => {
    const app = await appWith(bigTrace(SPANS, parent));
    const before = process.memoryUsage().rss;
    const started = performance.now();
    const trace = await get<Trace>(app, URL);
    expect(performance.now() - started).toBeLessThan(MOST_MS);
    expect(process.memoryUsage().rss - before).toBeLessThan(MOST_BYTES);
    expect([trace.partial, trace.spans.length, trace.span_count, trace.subtree_span_count, trace.roots_omitted]).toEqual([true, 10_000, SPANS, SPANS, 0]);
    expectNoHoles(trace, 1);
    // In each of these the first by start are the highest.
    expect(trace.spans.map(({ span_id }) => span_id)).toEqual(Array.from({ length: 10_000 }, (_, at) => spanId(at + 1)));
    expect(Math.max(...trace.spans.map(({ children_omitted }) => children_omitted))).toBeGreaterThanOrEqual(most_omitted);
  }, 60_000);

  test('all of it when asked', async () => {
    const app = await appWith(bigTrace(SPANS, 'CASE WHEN i > 1 THEN i // 2 END'));
    const whole = await get<Trace>(app, `${URL}?max_spans=100000`);
    expect([whole.partial, whole.spans.length]).toEqual([false, SPANS]);
    expect(whole.spans.filter(({ children_omitted }) => children_omitted > 0)).toEqual([]);
  }, 60_000);

  test('children come a page at a time, each once, whatever is written meanwhile', async () => {
    // Ties: four children a microsecond.
    const app = await appWith(bigTrace(2001, 'CASE WHEN i > 1 THEN 1 END').replace('(i - 1) * 1000', '((i + 2) // 4) * 1000'));
    const top = await get<Trace>(app, `${URL}?depth=0`);
    expect([top.spans.length, top.partial, top.spans[0]?.children_count, top.spans[0]?.children_omitted]).toEqual([1, true, 2000, 2000]);
    const seen: Span[] = [];
    let url = `${top.children_url.replace('{span_id}', spanId(1))}?limit=300`;
    for (let cursor = ''; ; ) {
      const page = await get<{ spans: Span[]; children_count: number; next_cursor: string | null }>(app, url + cursor);
      expect(page.children_count).toBe(2000);
      seen.push(...page.spans);
      if (page.next_cursor === null) break;
      cursor = `&cursor=${page.next_cursor}`;
    }
    expect(seen).toHaveLength(2000);
    expect(new Set(seen.map(({ span_id }) => span_id)).size).toBe(2000);
    expect(seen.map(({ start_time_unix_nano }) => start_time_unix_nano)).toEqual(seen.map(({ start_time_unix_nano }) => start_time_unix_nano).toSorted());
    expect(await get(app, top.children_url.replace('{span_id}', spanId(2)))).toMatchObject({ spans: [], children_count: 0, next_cursor: null });
    expect(await get(app, top.children_url.replace('{span_id}', spanId(9999)), 404)).toMatchObject({ code: 'span-not-found' });
    url = top.children_url.replace('{span_id}', spanId(1));
    for (const cursor of ['x', Buffer.from('[2,"a","0","0","1","zz"]').toString('base64url')]) expect(await get(app, `${url}?cursor=${cursor}`, 400)).toMatchObject({ code: 'invalid-cursor' });
  });
});

test('root and depth choose a part, and what is left out of that part is said', async () => {
  const app = await appWith(bigTrace(127, 'CASE WHEN i > 1 THEN i // 2 END'));
  const part = await get<Trace>(app, `${URL}?root=${spanId(2)}`);
  expect([part.partial, part.root, part.spans.length, part.subtree_span_count, part.span_count]).toEqual([false, spanId(2), 63, 63, 127]);
  const shallow = await get<Trace>(app, `${URL}?root=${spanId(2)}&depth=1`);
  expect(shallow.spans.map(({ span_id, children_omitted }) => [span_id, children_omitted])).toEqual([[spanId(2), 0], [spanId(4), 2], [spanId(5), 2]]);
  expect([shallow.partial, shallow.subtree_span_count]).toEqual([true, 63]);
  const few = await get<Trace>(app, `${URL}?max_spans=4`);
  expect(few.spans.map(({ span_id, children_omitted }) => [span_id, children_omitted])).toEqual([[spanId(1), 0], [spanId(2), 1], [spanId(3), 2], [spanId(4), 2]]);
  expect(await get(app, `${URL}?root=${spanId(500)}`, 404)).toMatchObject({ code: 'span-not-found' });
  for (const query of ['root=5', 'root=ffffffffffffffff', 'depth=-1', 'max_spans=0', 'max_spans=100001']) expect(await get(app, `${URL}?${query}`, 400)).toMatchObject({ code: 'invalid-request' });
});

test('OTLP and Jaeger say what is missing as far as they can', async () => {
  const app = await appWith(bigTrace(20, 'CASE WHEN i > 1 THEN 1 END'));
  const otlp = await app.inject(`${URL}?format=otlp&max_spans=3`);
  expect(otlp.headers).toMatchObject({ 'tracehouse-partial': 'true', 'tracehouse-span-count': '20' });
  expect(otlp.body).toContain('{"key":"tracehouse.children_omitted","value":{"intValue":"17"}}');
  const jaeger = (await get<{ data: { warnings: string[] | null; spans: { tags: object[] }[] }[] }>(app, `${URL}?format=jaeger&max_spans=3`)).data[0];
  expect(jaeger?.warnings).toHaveLength(1);
  expect(jaeger?.spans[0]?.tags).toContainEqual({ key: 'tracehouse.children_omitted', type: 'int64', value: 17 });
  const whole = await app.inject(`${URL}?format=otlp`);
  expect(whole.headers['tracehouse-partial']).toBe('false');
  expect(whole.body).not.toContain('children_omitted');
});

test('circles and missing parents neither hang nor hide a span', async () => {
  const circle = await appWith(bigTrace(1000, '(i % 1000) + 1'));
  expect((await get<Trace>(circle, URL)).spans).toHaveLength(1000);
  const part = await get<Trace>(circle, `${URL}?root=${spanId(500)}&max_spans=10`);
  expect([part.spans.length, part.subtree_span_count, part.partial]).toEqual([10, 1000, true]);
  const orphans = await appWith(bigTrace(1000, '100000 + i'));
  const few = await get<Trace>(orphans, `${URL}?max_spans=100`);
  expect([few.spans.length, few.partial, few.roots_omitted]).toEqual([100, true, 900]);
  const own_parent = await appWith(bigTrace(3, 'i'));
  expect((await get<Trace>(own_parent, URL)).spans.map(({ children_count }) => children_count)).toEqual([1, 1, 1]);
});

test('choosing is linear: a million spans in a chain', () => {
  const spans = Array.from({ length: 1_000_000 }, (_, at) => ({ span_id: BigInt(at), parent_span_id: at === 0 ? null : BigInt(at - 1) }));
  onTestFinished(() => void spans.splice(0));
  const started = performance.now();
  const chosen = chooseSpans(spans, { max_spans: 10, depth: undefined });
  expect(performance.now() - started).toBeLessThan(10_000);
  expect([chosen?.places.length, chosen?.within, chosen?.childrenOf(9)]).toEqual([10, 1_000_000, { count: 1, omitted: 1 }]);
});
