// What a working set that is read anew finds in the warehouse.
import { expect, onTestFinished, test } from 'vitest';
import { Warehouse } from '../ingest/warehouse.ts';
import { Correlator } from '../queries/correlator.ts';
import { DEFAULT_LIMITS, createWorkingSet, dropWorkingSet, loadHistory } from '../queries/working-set.ts';
import { makeBatch } from './support/make-batch.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

const SOCKETS = 12;
const at = (ms: number): bigint => BigInt(ms) * 1_000_000n;

/** Each socket: a request that was answered, and one whose answer has only begun. */
const messagesOf = (socket: number): Record<string, unknown>[] => {
  const own = {
    socket_id: socket, conn_id: socket, process_id: 1, role: 'server', protocol: 'http', first_thread_id: socket, last_thread_id: socket, complete: true, partial: false, method: 'GET', path: '/',
  };
  const request = { ...own, kind: 'request', direction: 'in', end_reason: 'no_body' };
  const answer = { ...own, kind: 'response', direction: 'out', end_reason: 'length', status: 200 };
  const place = (exchange_no: number, ms: number): object => ({ exchange_no, stream_offset: exchange_no * 10, end_offset: exchange_no * 10 + 10, ts_ns: at(ms), end_ts_ns: at(ms + 1) });
  return [
    { ...request, ...place(0, 1000 + socket) }, { ...answer, ...place(0, 1010 + socket) },
    { ...request, ...place(1, 2000 + socket) }, { ...answer, ...place(1, 2010 + socket), partial: true, end_reason: null },
  ];
};

test('requests that were read long ago and are open: looked for in parts as well as at once', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const sockets = Array.from({ length: SOCKETS }, (_, n) => n + 1);
  await warehouse.apply(makeBatch({ sequence: 1n, watermark_ns: at(60_000) }, { messages: sockets.flatMap(messagesOf) }));
  const { spans, cut_ns } = await new Correlator(warehouse, { silent_ms: 1e9 }).cycle();
  expect(spans).toBe(SOCKETS);
  await warehouse.seal(); // keys are counted in sealed files
  const found = (most_keys: number): Promise<unknown[][]> => warehouse.withDerived(async (_alias, connection) => {
    await createWorkingSet(connection);
    await loadHistory(warehouse, connection, { from_ns: cut_ns, to_ns: cut_ns, apply_no: warehouse.last_apply_no }, DEFAULT_LIMITS, most_keys);
    const rows = (await connection.runAndReadAll('SELECT socket_id, exchange_no, kind FROM known_messages ORDER BY ALL')).getRows();
    await dropWorkingSet(connection);
    return rows;
  });
  const open = sockets.flatMap((socket) => ['request', 'response'].map((kind) => [BigInt(socket), 1n, kind]));
  expect(await found(1e9)).toEqual(open);
  expect(await found(SOCKETS)).toEqual(open);
  expect(await found(1)).toEqual(open);
});

test('what has been read is told on while batches without messages land, and messages of the time ahead are held back', async () => {
  const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
  onTestFinished(() => warehouse.close());
  const told: bigint[] = [];
  warehouse.noteRead = (apply_no) => void told.push(apply_no);
  const correlator = new Correlator(warehouse, { silent_ms: 1e9 });
  const land = async (sequence: bigint, watermark_ms: number, messages: Record<string, unknown>[] = []): Promise<bigint | undefined> => {
    await warehouse.apply(makeBatch({ sequence, watermark_ns: at(watermark_ms) }, messages.length > 0 ? { messages: messages as never } : { thread_events: [{ ts_ns: at(watermark_ms), op: 'exit' }] }));
    await correlator.cycle();
    return told.at(-1);
  };
  expect(await land(1n, 60_000, messagesOf(1).slice(0, 2))).toBe(1n);
  expect(await land(2n, 61_000)).toBe(2n);
  expect(await land(3n, 62_000)).toBe(3n);
  const ahead = messagesOf(2).slice(0, 2).map((message) => ({ ...message, ts_ns: (message['ts_ns'] as bigint) + at(70_000), end_ts_ns: (message['end_ts_ns'] as bigint) + at(70_000) }));
  expect(await land(4n, 63_000, ahead)).toBe(3n);
  expect(await land(5n, 64_000)).toBe(3n);
  expect(await land(6n, 90_000)).toBe(6n);
});

test('far behind, over files that were sealed meanwhile: the same spans in cycles of one batch as at once', async () => {
  const BATCHES = 6;
  const spansWith = async (most_rows: number): Promise<{ spans: unknown[][]; cycles: number }> => {
    const warehouse = await Warehouse.open({ folder: temporaryFolder(), seal_every_ms: 0, retire_after_ms: 10 });
    onTestFinished(() => warehouse.close());
    for (let n = 1; n <= BATCHES; n += 1) {
      // Its answer lands with the next batch; every other connection is closed two batches later instead.
      const whole = (socket: number): Record<string, unknown>[] => messagesOf(socket).slice(0, 2).map((message) => ({ ...message, ts_ns: (message['ts_ns'] as bigint) + at(1000 * socket), end_ts_ns: (message['end_ts_ns'] as bigint) + at(1000 * socket) }));
      const messages = [whole(n)[0], ...(n % 2 === 0 ? [whole(n - 1)[1]] : [])];
      const closes = n > 2 && n % 2 === 0 ? [{ ts_ns: at(1000 * n + 1500), socket_id: n - 2, op: 'close', layer: 'socket' }] : [];
      await warehouse.apply(makeBatch({ sequence: BigInt(n), watermark_ns: at(1000 * (n + 2)) }, { messages: messages as never, socket_events: closes }));
      await warehouse.seal();
    }
    const correlator = new Correlator(warehouse, { silent_ms: 1e9, most_rows });
    let cycles = 1;
    while ((await correlator.cycle()).behind) cycles += 1;
    await correlator.finish();
    return { spans: (await warehouse.query('SELECT span_id, start_ns, end_ns, end_reason, answered, complete FROM stored.spans ORDER BY ALL')).rows, cycles };
  };
  const [slow, at_once] = [await spansWith(1), await spansWith(1e6)];
  expect([slow.cycles > 3, at_once.cycles]).toEqual([true, 1]);
  expect(new Set(at_once.spans.map((row) => row[3]))).toEqual(new Set(['length', 'close', 'stop']));
  expect(slow.spans).toEqual(at_once.spans);
});
