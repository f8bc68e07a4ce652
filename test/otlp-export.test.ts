// Finished traces to a collector that decodes what it gets: each span once, over retries, restarts and crashes.
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { buildApp } from '../api/app.ts';
import { decodeTraces, encodeExportResponse } from '../api/formats/otlp-protobuf.ts';
import type { OtlpTraces } from '../api/formats/otlp-json.ts';
import { OtlpExporter } from '../api/otlp/exporter.ts';
import type { OtlpExporterOptions } from '../api/otlp/exporter.ts';
import { ProcessAttributes } from '../api/otlp/process-attributes.ts';
import { retryAfterMs } from '../api/otlp/send-batch.ts';
import { headersOfFile, headersOfVariable, otlpTarget, otlpUrl } from '../api/otlp/target.ts';
import type { SpanRow } from '../api/lookups/trace-spans.ts';
import type { Warehouse } from '../ingest/warehouse.ts';
import { STORED_AFTER_NS } from '../queries/working-set.ts';
import { FAILED, NOW_NS, shopWarehouse } from './support/shop-warehouse.ts';
import { temporaryFolder } from './support/temporary-folder.ts';
import { tell } from './support/told-process.ts';
import type { Told } from './support/told-process.ts';

interface Received { readonly body: Buffer; readonly headers: IncomingHttpHeaders; readonly traces: OtlpTraces; readonly ids: string[] }
interface Reply { readonly status?: number; readonly headers?: Record<string, string>; readonly body?: Uint8Array | string; readonly hang_up?: boolean; readonly silent?: boolean; readonly meanwhile?: () => void }

/** Answers as told, then with 200. */
async function sink(replies: Reply[] = []): Promise<{ url: string; received: Received[] }> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const body = Buffer.concat(parts);
      const plain = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
      const traces = request.headers['content-type'] === 'application/json' ? (JSON.parse(plain.toString()) as OtlpTraces) : decodeTraces(plain);
      received.push({ body, headers: { ...request.headers, ':path': request.url }, traces, ids: idsOf(traces) });
      const { status = 200, headers = {}, body: answer = encodeExportResponse(), hang_up = false, silent = false, meanwhile } = replies.shift() ?? {};
      meanwhile?.();
      if (silent) return;
      if (hang_up) request.socket.destroy();
      else response.writeHead(status, { 'content-type': 'application/x-protobuf', ...headers }).end(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve()).closeAllConnections()));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`, received };
}

const spansIn = ({ resourceSpans }: OtlpTraces) => resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
const idsOf = (traces: OtlpTraces): string[] => spansIn(traces).map(({ traceId, spanId }) => `${traceId} ${spanId}`);

async function shop(replies: Reply[] = [], options: Partial<OtlpExporterOptions> = {}) {
  const folder = temporaryFolder();
  const { warehouse, correlator, traceOf } = await shopWarehouse(folder);
  onTestFinished(() => warehouse.close());
  const { url, received } = await sink(replies);
  const waits: number[] = [];
  const log: string[] = [];
  const exporterNow = (more: Partial<OtlpExporterOptions> = {}): OtlpExporter => {
    const exporter = new OtlpExporter(warehouse, {
      target: { url, protocol: 'protobuf', compression: 'gzip', headers: {} },
      cut_ns: () => correlator.cut_ns + 10_000_000_000n, since_ns: 0n, batch_spans: 20, quiet_ns: 1_000_000_000n, timeout_ms: 5000,
      log: (line) => log.push(line),
      wait: async (ms, signal) => {
        waits.push(ms);
        signal.throwIfAborted();
      },
      ...options, ...more,
    });
    onTestFinished(() => exporter.close());
    return exporter;
  };
  const all = (await warehouse.query("SELECT trace_id || ' ' || span_id FROM spans ORDER BY 1")).rows.map(([id]) => id as string);
  return { folder, warehouse, correlator, traceOf, url, received, waits, log, exporterNow, all };
}

async function sendAll(exporter: OtlpExporter): Promise<void> {
  while (await exporter.sendNext());
}

const sentIds = (received: readonly Received[]): string[] => received.flatMap(({ ids }) => ids).toSorted();

test('bytes of another encoder are understood', () => {
  // Written by @opentelemetry/otlp-transformer 0.200.0.
  const golden = '0ad9010a2d0a160a0c736572766963652e6e616d6512060a0473686f700a110a0b70726f636573732e7069641202180a100012a7010a0f0a0a7472616365686f7573651201311293010a1018d76b6a5a40ca0018d76b6a5a40ca011208023f9a1b7c6d5e4f2208123f9a1b7c6d5e4f2a06474554202f783003391547138a825bd7184115280990825bd7184a1c0a13687474702e726571756573742e6d6574686f6412050a034745544a120a05726174696f120921000000000000e03f4a090a03796573120210014a080a016e120318f4035000600070007a021802';
  expect(decodeTraces(Buffer.from(golden, 'hex'))).toEqual({
    resourceSpans: [{
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }, { key: 'process.pid', value: { intValue: '10' } }] },
      scopeSpans: [{
        scope: { name: 'tracehouse', version: '1' },
        spans: [{
          traceId: '18d76b6a5a40ca0018d76b6a5a40ca01', spanId: '023f9a1b7c6d5e4f', parentSpanId: '123f9a1b7c6d5e4f', name: 'GET /x', kind: 3,
          startTimeUnixNano: '1789999993123456789', endTimeUnixNano: '1789999993223456789', status: { code: 2 },
          attributes: [{ key: 'http.request.method', value: { stringValue: 'GET' } }, { key: 'ratio', value: { doubleValue: 0.5 } }, { key: 'yes', value: { boolValue: true } }, { key: 'n', value: { intValue: '500' } }],
        }],
      }],
    }],
  });
});

describe('what is sent', () => {
  test('every span once, as protobuf in gzip', async () => {
    const { received, exporterNow, all, traceOf } = await shop();
    const exporter = exporterNow();
    await sendAll(exporter);
    expect(sentIds(received)).toEqual(all);
    expect(received.length).toBe(Math.ceil(all.length / 20));
    expect(received[0]?.headers).toMatchObject({ 'content-type': 'application/x-protobuf', 'content-encoding': 'gzip', ':path': '/v1/traces' });
    expect(exporter.counts).toEqual({ sent: all.length, rejected: 0, dropped: 0, late: 0, requests: received.length, retries: 0 });
    expect(exporter.lag_ns).toBe(STORED_AFTER_NS + 1_000_000_000n);

    const failed = await traceOf(`/orders/${FAILED}`);
    const groups = received.flatMap(({ traces }) => traces.resourceSpans);
    const group = groups.find(({ scopeSpans }) => scopeSpans.some(({ spans }) => spans.some(({ traceId, kind }) => traceId === failed && kind === 2)));
    expect(group?.resource.attributes.slice(0, 3)).toEqual([{ key: 'service.name', value: { stringValue: 'shop' } }, { key: 'host.name', value: { stringValue: 'node-1' } }, { key: 'process.pid', value: { intValue: '10' } }]);
    expect(group?.resource.attributes).toContainEqual({ key: 'process.executable.path', value: { stringValue: '/bin/shop' } });
    expect(JSON.stringify(received.map(({ traces }) => traces))).not.toContain('--port');
    const spans = group?.scopeSpans[0]?.spans.filter(({ traceId }) => traceId === failed) ?? [];
    const [root, call] = spans;
    expect(root).toMatchObject({ traceId: failed, name: 'GET /orders/{id}', kind: 2, startTimeUnixNano: '1789999993000000000', endTimeUnixNano: '1789999993003000000', status: { code: 2 } });
    expect(root).not.toHaveProperty('parentSpanId');
    expect(call).toMatchObject({ kind: 3, parentSpanId: root?.spanId });
    const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });
    const whole = (key: string, intValue: string) => ({ key, value: { intValue } });
    expect(root?.attributes).toEqual(expect.arrayContaining([
      text('http.request.method', 'GET'), whole('http.response.status_code', '500'), text('http.route', '/orders/{id}'), text('url.path', `/orders/${FAILED}`), text('error.type', '500'),
      text('network.protocol.name', 'http'), text('network.protocol.version', '1.1'), text('network.peer.address', '127.0.0.1'), whole('network.peer.port', '40000'),
      text('server.address', 'shop.test'), whole('server.port', '8080'), text('client.address', '127.0.0.1'), whole('thread.id', '11'), whole('tracehouse.rule_version', expect.any(String) as unknown as string),
    ]));
    expect(call?.attributes).toEqual(expect.arrayContaining([text('url.template', '/stock/{id}'), text('network.peer.address', '127.0.0.2'), text('tracehouse.parent.evidence', 'thread')]));
  });

  test('or as JSON, plain, with headers', async () => {
    const { received, exporterNow, all, url } = await shop();
    await sendAll(exporterNow({ target: { url, protocol: 'json', compression: 'none', headers: { authorization: 'Bearer s3cret' } } }));
    expect(sentIds(received)).toEqual(all);
    expect(received[0]?.headers).toMatchObject({ 'content-type': 'application/json', authorization: 'Bearer s3cret' });
    expect(received[0]?.headers).not.toHaveProperty('content-encoding');
  });

  test('a trace only when it has been quiet: its spans go together, later ones in a group of their own', async () => {
    const { received, exporterNow, all } = await shop();
    let cut_ns = NOW_NS - 12_500_000_000n;
    const exporter = exporterNow({ cut_ns: () => cut_ns, quiet_ns: 200_000_000n, batch_spans: 1000 });
    while (cut_ns < NOW_NS + STORED_AFTER_NS + 1_000_000_000n) {
      await sendAll(exporter);
      cut_ns += 250_000_000n;
    }
    expect(sentIds(received)).toEqual(all);
    expect(received.length).toBeGreaterThan(10);
    const requests_of = new Map<string, Set<number>>();
    received.forEach(({ ids }, at) => ids.forEach((id) => requests_of.set(id.slice(0, 32), (requests_of.get(id.slice(0, 32)) ?? new Set()).add(at))));
    expect([...requests_of.values()].every((requests) => requests.size === 1)).toBe(true);
  });

  test('when nothing more is correlated, the last ones too; should they go on later, the rest by itself', async () => {
    const { received, exporterNow, all, warehouse } = await shop();
    // In the midst of the last order: its call has ended, the order has not.
    const cut = { ns: STORED_AFTER_NS + ((await warehouse.query("SELECT max(end_ns) FROM spans WHERE kind = 'client'")).rows[0]?.[0] ?? 0n) as bigint };
    const clock = { ms: 0 };
    const exporter = exporterNow({ cut_ns: () => cut.ns, now_ms: () => clock.ms, quiet_ns: 5_000_000_000n });
    await sendAll(exporter);
    const before = received.flatMap(({ ids }) => ids).length;
    expect(before).toBeLessThan(all.length - 3);
    clock.ms = 4999;
    expect(await exporter.sendNext()).toBe(false);
    clock.ms = 5001;
    await sendAll(exporter);
    expect(received.flatMap(({ ids }) => ids)).toHaveLength(all.length - 1);
    await exporter.close();
    // The next process, and the order ends.
    cut.ns += 60_000_000_000n;
    await sendAll(exporterNow({ cut_ns: () => cut.ns, quiet_ns: 5_000_000_000n }));
    expect(received.at(-1)?.ids).toHaveLength(1);
    expect(sentIds(received)).toEqual(all);
  });

  test('at the end, what is left', async () => {
    const { received, exporterNow, all, correlator } = await shop();
    const exporter = exporterNow({ cut_ns: () => correlator.cut_ns, quiet_ns: 5_000_000_000n });
    exporter.start();
    await exporter.finish(10_000);
    expect(sentIds(received)).toEqual(all);
  });

  test('or as far as it gets: a collector that takes a request and says nothing holds it up for the grace alone', async () => {
    const { received, exporterNow, all } = await shop([{ silent: true }]);
    const exporter = exporterNow({ timeout_ms: 20_000 });
    exporter.start();
    await expect.poll(() => received.length).toBe(1);
    const begun_ms = performance.now();
    await exporter.finish(100);
    expect(performance.now() - begun_ms).toBeLessThan(10_000);
    await sendAll(exporterNow());
    expect(received[1]?.body.equals(received[0]?.body as Buffer)).toBe(true);
    expect(sentIds(received.slice(1))).toEqual(all);
  });

  // One thread, so that C may be of either order: it waits to be decided, and is what joins X and R1.
  const held: Told[] = [
    { name: 'R1', kind: 'server', from: 0, to: 6500, threads: [1, 1], turns: [1, 20] },
    { name: 'X', kind: 'client', from: 10, to: 50, threads: [1, 1], turns: [1, 3] },
    { name: 'R2', kind: 'server', from: 1000, to: 2050, threads: [1, 1], turns: [5, 9] },
    { name: 'C', kind: 'client', from: 2000, to: 2100, threads: [1, 1], turns: [7, 10] },
    { name: 'next', kind: 'server', from: 20_000, to: 20_010, threads: [1, 1], turns: [50, 51] },
  ];

  test.for([['goes on', undefined], ['stands still while one waits', 2500]] as const)('calls that wait to be decided too, once, where correlation %s', async ([, still_ms]) => {
    const { url, received } = await sink();
    const clock = { ms: 0 };
    let exporter: OtlpExporter | undefined;
    const { warehouse } = await tell(held, [], {
      every_ms: 500,
      after: async ({ warehouse: told, correlator, ms }) => {
        exporter ??= new OtlpExporter(told, { target: { url, protocol: 'protobuf', compression: 'none', headers: {} }, cut_ns: () => correlator.cut_ns, since_ns: 0n, now_ms: () => clock.ms });
        clock.ms += 500;
        await sendAll(exporter);
        if (ms !== still_ms) return;
        clock.ms += 6000;
        await sendAll(exporter);
      },
    });
    exporter?.start();
    await exporter?.finish(10_000);
    expect(sentIds(received)).toEqual((await warehouse.query("SELECT trace_id || ' ' || span_id FROM spans ORDER BY 1")).rows.map(([id]) => id));
    expect(exporter?.counts).toMatchObject({ sent: held.length, late: 0 });
    const of_r1 = (await warehouse.query('SELECT trace_id FROM spans ORDER BY start_ns LIMIT 1')).rows[0]?.[0] as string;
    expect(received.map(({ ids }) => ids.filter((id) => id.startsWith(of_r1)).length).filter((spans) => spans > 0)).toEqual([3]);
  });

  test('a collector that is new is told what is correlated from now on', async () => {
    const { received, exporterNow, warehouse } = await shop();
    const exporter = new OtlpExporter(warehouse, { target: { url: 'http://127.0.0.1:9/v1/traces', protocol: 'json', compression: 'none', headers: {} }, cut_ns: () => NOW_NS + 60_000_000_000n });
    onTestFinished(() => exporter.close());
    await sendAll(exporter);
    expect(exporter.counts.requests).toBe(0);
    await sendAll(exporterNow());
    expect(received.length).toBeGreaterThan(0);
  });
});

describe('no duplicates', () => {
  test('load and faults: the same bytes again, after as long as the collector asks for', async () => {
    const { received, waits, exporterNow, all, log } = await shop([{ status: 429, headers: { 'retry-after': '7' } }, { status: 503 }, { hang_up: true }, { status: 401 }, {}, { status: 502, headers: { 'retry-after': new Date(Date.now() + 90_000).toUTCString() } }]);
    const exporter = exporterNow();
    await sendAll(exporter);
    expect(received.slice(1, 5).every(({ body }) => body.equals(received[0]?.body as Buffer))).toBe(true);
    expect(sentIds(received.slice(4).filter((_, at) => at !== 1))).toEqual(all);
    expect(waits[0]).toBe(7000);
    expect(waits[1]).toBeGreaterThanOrEqual(1000);
    expect(waits[2]).toBeGreaterThanOrEqual(2000);
    expect(waits[4]).toBeGreaterThan(60_000);
    expect(exporter.counts).toMatchObject({ sent: all.length, dropped: 0, retries: 5, requests: received.length });
    expect(log.filter((line) => line.includes('until it works'))).toHaveLength(2);
    expect(log.at(-1)).toContain('takes spans again');
  });

  test('a collector that asks for a month is asked again after an hour, and the log says so', async () => {
    const { received, waits, exporterNow, all, log } = await shop([{ status: 429, headers: { 'retry-after': '2592000' } }]);
    await sendAll(exporterNow());
    expect(waits).toEqual([3_600_000]);
    expect(log[0]).toContain('HTTP 429; again in 3600 s');
    expect(sentIds(received.slice(1))).toEqual(all);
  });

  test('over a restart', async () => {
    const { received, exporterNow, all } = await shop();
    const first = exporterNow({ cut_ns: () => NOW_NS - 10_000_000_000n });
    await sendAll(first);
    await first.close();
    const before = received.length;
    expect(before).toBeGreaterThan(0);
    const second = exporterNow({ since_ns: 0n });
    await sendAll(second);
    expect(received.length).toBeGreaterThan(before);
    expect(sentIds(received)).toEqual(all);
    await sendAll(exporterNow());
    expect(sentIds(received)).toEqual(all);
  });

  test('killed between an answer and its note: that one batch is sent again, byte for byte, and nothing else', async () => {
    const { received, exporterNow, all, folder, url } = await shop();
    await sendAll(exporterNow());
    const whole = received.splice(0);
    const file = join(folder, 'otlp', readdirSync(join(folder, 'otlp'))[0] as string);
    const end = JSON.parse(readFileSync(file, 'utf8')) as { done_ns: string };
    // As it was on disk while the third batch was under way.
    writeFileSync(file, JSON.stringify({ url, done_ns: '0', flushed_ns: '0', window: { to_ns: end.done_ns, batches_done: 2, flush: false } }));
    await sendAll(exporterNow());
    expect(received.map(({ body }) => body.toString('hex'))).toEqual(whole.slice(2).map(({ body }) => body.toString('hex')));
    expect(sentIds([...whole.slice(0, 2), ...received])).toEqual(all);
  });

  test('while the position cannot be written nothing is sent, and afterwards what has not been', async () => {
    // In the way of what is written before it is renamed, as a full disk would be.
    const blocked = (): string => join(folder, 'otlp', `${readdirSync(join(folder, 'otlp'))[0]?.slice(0, 16)}.json.next`);
    const { received, exporterNow, all, folder } = await shop([{}, { meanwhile: () => mkdirSync(blocked()) }]);
    const exporter = exporterNow();
    for (let tries = 0; tries < 3; tries++) await expect(sendAll(exporter)).rejects.toThrow('EISDIR');
    expect(received).toHaveLength(2);
    rmdirSync(blocked());
    await sendAll(exporter);
    expect(sentIds(received)).toEqual(all);
    await sendAll(exporterNow());
    expect(sentIds(received)).toEqual(all);
  });

  test('closed while the collector does not take anything: it ends, and the next start goes on', async () => {
    const { received, exporterNow, all } = await shop(Array.from({ length: 3 }, () => ({ status: 503 })));
    const first = exporterNow({
      wait: (_ms, signal) => new Promise((_resolve, reject) => {
        const stop = (): void => reject(signal.reason as Error);
        if (signal.aborted) stop();
        signal.addEventListener('abort', stop);
        queueMicrotask(() => void first.close());
      }),
    });
    first.start();
    await expect.poll(() => received.length).toBe(1);
    await first.close();
    await sendAll(exporterNow());
    expect(sentIds(received.filter((_, at) => at > 2))).toEqual(all);
  });
});

describe('what is lost is counted', () => {
  test('refused for good, and rejected in part', async () => {
    const { received, exporterNow, all, warehouse, correlator, log } = await shop([{ status: 400 }, { body: encodeExportResponse({ rejectedSpans: 3, errorMessage: 'too old' }) }, { headers: { 'content-type': 'application/json' }, body: '{"partialSuccess":{"rejectedSpans":"2"}}' }, { body: 'thanks' }]);
    const exporter = exporterNow();
    await sendAll(exporter);
    expect(received.length).toBe(Math.ceil(all.length / 20));
    expect(exporter.counts).toMatchObject({ sent: all.length - 20, dropped: 20, rejected: 5, retries: 0 });
    expect(log).toEqual(expect.arrayContaining([expect.stringContaining('refused 20 spans for good: HTTP 400'), expect.stringContaining('rejected 3 of 20 spans: too old')]));
    const app = buildApp({ warehouse, correlator, otlp: exporter });
    const { body } = await app.inject('/metrics');
    await app.close();
    expect(body).toMatch(new RegExp(`^tracehouse_otlp_spans_total\\{result="sent"\\} ${all.length - 20}$`, 'm'));
    expect(body).toMatch(/^tracehouse_otlp_spans_total\{result="dropped"\} 20$/m);
    expect(body).toMatch(/^tracehouse_otlp_spans_total\{result="rejected"\} 5$/m);
    expect(body).toMatch(/^tracehouse_otlp_lag_seconds 8$/m);
  });
});

test('containers and pods, where the process is known to be in one', async () => {
  const uid = '0f3c2a1b-1111-2222-3333-444455556666';
  const answer = { rows: [[7n, '/app/server', 'c0ffee', `/kubepods.slice/kubepods-burstable-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-c0ffee.scope`], [8n, '/bin/x', null, '/system.slice']] };
  const of = await new ProcessAttributes({ query: async () => answer } as unknown as Warehouse).of([7n, 8n, 9n].map((process_id) => ({ process_id }) as SpanRow));
  expect(of({ process_id: 7n } as SpanRow)).toEqual([['process.executable.path', '/app/server'], ['container.id', 'c0ffee'], ['k8s.pod.uid', uid]]);
  expect(of({ process_id: 8n } as SpanRow)).toEqual([['process.executable.path', '/bin/x']]);
  expect(of({ process_id: 9n } as SpanRow)).toEqual([]);
});

test('what is stored after its time had been sent is counted', async () => {
  const { exporterNow, warehouse, log } = await shop();
  const clock = { ms: 0 };
  const exporter = exporterNow({ now_ms: () => clock.ms });
  await sendAll(exporter);
  await warehouse.withDerived(async (alias, connection) => void (await connection.run(`INSERT INTO ${alias}.spans SELECT * REPLACE (span_id + 1 AS span_id) FROM memory.stored.spans LIMIT 3`)));
  clock.ms = 59_000;
  await exporter.sendNext();
  expect(exporter.counts.late).toBe(0);
  clock.ms = 61_000;
  await exporter.sendNext();
  expect(exporter.counts.late).toBe(3);
  expect(log).toContain('otlp: 3 spans came too late to be sent');
  clock.ms = 200_000;
  await exporter.sendNext();
  expect(exporter.counts.late).toBe(3);
});

describe('settings', () => {
  test('endpoints', () => {
    expect(otlpUrl('http://collector:4318')).toBe('http://collector:4318/v1/traces');
    expect(otlpUrl('https://collector/otlp/v1/traces?x=1')).toBe('https://collector/otlp/v1/traces?x=1');
    for (const bad of ['collector:4318', 'grpc://collector', 'http://user:secret@collector', '']) expect(() => otlpUrl(bad)).toThrow(expect.objectContaining({ code: 'otlp-settings', exit_code: 2 }));
    expect(() => otlpUrl('http://user:secret@collector')).not.toThrow('secret');
    expect(otlpTarget({})).toBeUndefined();
  });

  test('headers from a file and from the environment; a secret is in no error', () => {
    const file = join(temporaryFolder(), 'headers');
    writeFileSync(file, '# of the collector\n\nAuthorization: Bearer a:b=c\nx-scope: 1\n');
    expect(headersOfFile(file)).toEqual({ authorization: 'Bearer a:b=c', 'x-scope': '1' });
    expect(headersOfVariable('authorization=Basic%20eA==,x-a=1')).toEqual({ authorization: 'Basic eA==', 'x-a': '1' });
    expect(otlpTarget({ otlpEndpoint: 'http://c', otlpHeadersFile: file }, { TRACEHOUSE_OTLP_HEADERS: 'x-scope=2,y=3' })).toMatchObject({ protocol: 'protobuf', compression: 'gzip', headers: { 'x-scope': '1', y: '3' } });
    writeFileSync(file, 'Bearer s3cret');
    expect(() => headersOfFile(file)).toThrow(/header 1 has no colon/);
    expect(() => headersOfVariable('s3cret')).not.toThrow('s3cret');
    expect(() => headersOfFile(join(file, 'missing'))).toThrow('cannot be read');
  });

  test('Retry-After', () => {
    expect([retryAfterMs('3', 0), retryAfterMs('Thu, 01 Jan 1970 00:00:09 GMT', 4000), retryAfterMs('Thu, 01 Jan 1970 00:00:01 GMT', 4000), retryAfterMs('soon', 0), retryAfterMs(null, 0)]).toEqual([3000, 5000, 1000, undefined, undefined]);
    expect(['0', '3600', '3601', '2592000', '9'.repeat(400), 'Fri, 01 Jan 2100 00:00:00 GMT'].map((text) => retryAfterMs(text, 0))).toEqual([1000, 3_600_000, 3_600_000, 3_600_000, 3_600_000, 3_600_000]);
  });
});
