// Timing alone, on made-up services with the truth beside it: what is right, and whether probabilities mean what they say.
import { DuckDBInstance } from '@duckdb/node-api';
import { describe, expect, test } from 'vitest';
import { createTimingTables, readProblems, resolveTiming, type TimingLink } from '../queries/timing/resolve.ts';
import { seededRandom } from '../queries/timing/resolve-service.ts';

interface Service {
  readonly requests: number;
  /** Mean ms between requests. */
  readonly every_ms: number;
  /** What a request calls, in order: the callee, and how many ms after the answer before (or the request) on average. */
  readonly calls: readonly (readonly [string, number])[];
  /** Share of a delay that is not random. */
  readonly steady: number;
  readonly operations?: readonly string[];
}

async function resolve({ requests, every_ms, calls, steady, operations = ['GET /'] }: Service, seed = 1): Promise<{ links: Map<string, TimingLink>; truth: Map<string, string> }> {
  const random = seededRandom(seed);
  const exponential = (mean: number): number => -Math.log(1 - random()) * mean;
  const delay = (mean: number): number => mean * steady + exponential(mean * (1 - steady));
  const truth = new Map<string, string>();
  const [request_rows, call_rows]: [string[], string[]] = [[], []];
  let now = 0;
  for (let i = 0; i < requests; i += 1) {
    now += exponential(every_ms);
    let at = now;
    for (const [k, [callee, mean]] of calls.entries()) {
      at += delay(mean);
      const end = at + delay(2);
      call_rows.push(`('c${i}.${k}', 's', 'p', '${callee}', NULL, ${Math.round(at * 1e6)}, ${Math.round(end * 1e6)})`);
      truth.set(`c${i}.${k}`, `r${i}`);
      at = end;
    }
    request_rows.push(`('r${i}', 's', 'p', '${operations[i % operations.length]}', ${Math.round(now * 1e6)}, ${Math.round((at + delay(0.5)) * 1e6)}, NULL)`);
  }
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await createTimingTables(connection);
    await connection.run(`INSERT INTO timing_requests VALUES ${request_rows.join(', ')}`);
    await connection.run(`INSERT INTO timing_calls VALUES ${call_rows.join(', ')}`);
    const { links } = await resolveTiming(connection);
    return { truth, links: new Map(links.filter(({ chosen }) => chosen).map((link) => [link.call_id, link])) };
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

const share = (truth: Map<string, string>, links: Map<string, TimingLink>, least = 0): { right: number; of: number } => {
  const sure = [...truth].filter(([call]) => (links.get(call)?.probability ?? 0) >= least);
  return { right: sure.filter(([call, request]) => links.get(call)?.request_id === request).length / Math.max(1, sure.length), of: sure.length };
};

test('calls that no answered request was open for have no candidates', async () => {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  try {
    await createTimingTables(connection, 'BIGINT');
    await connection.run("INSERT INTO timing_requests VALUES (1, 's', 7, 'GET /', 1000, NULL, NULL), (2, 's', 7, 'GET /', 1500, NULL, NULL); INSERT INTO timing_calls VALUES (3, 's', 7, 'b', NULL, 2000, 3000)");
    const found: [bigint[], number][] = [];
    for await (const { call_ids, problem } of readProblems<bigint>(connection)) found.push([[...call_ids], problem.candidates.length]);
    expect(found).toEqual([[[3n], 0]]);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
});

describe('a service that calls two others in sequence', () => {
  test('requests that rarely overlap: nearly all links are right', async () => {
    const { links, truth } = await resolve({ requests: 400, every_ms: 15, calls: [['b', 1], ['c', 1]], steady: 0.8 });
    expect(share(truth, links).right).toBeGreaterThan(0.99);
  });

  test('repeated calls to one callee, and operations of different pace', async () => {
    const { links, truth } = await resolve({ requests: 400, every_ms: 15, calls: [['b', 1], ['b', 0.5], ['b', 1.5]], steady: 0.9, operations: ['GET /x', 'PUT /y'] });
    expect(share(truth, links).right).toBeGreaterThan(0.97);
  });

  test.each([[0.9, 6], [0.5, 6], [0, 10]] as const)('delays %f steady, a request each %f ms: links said to be sure are', async (steady, every_ms) => {
    const { links, truth } = await resolve({ requests: 800, every_ms, calls: [['b', 2], ['c', 2]], steady });
    const sure = share(truth, links, 0.95);
    expect(sure.of).toBeGreaterThan(100);
    expect(sure.right).toBeGreaterThan(0.95);
  });
});

test('the same input gives the same links', async () => {
  const service: Service = { requests: 100, every_ms: 4, calls: [['b', 2]], steady: 0.5 };
  const [one, other] = [await resolve(service), await resolve(service)];
  expect([...one.links.values()]).toEqual([...other.links.values()]);
});
