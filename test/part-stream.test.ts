import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { PartStream } from '../api/part-stream.ts';

const [PART_BYTES, PARTS] = [256 * 1024, 100];
/** Large, small, and just at the limit of what is copied. */
const bytesOf = (at: number): number => (at % 3 === 0 ? PART_BYTES : at % 3 === 1 ? 100 : 64 * 1024 + (at % 2));

test('parts that lie in the same memory reach a slow reader over HTTP as they were', async () => {
  const sent = createHash('sha256');
  async function* parts(): AsyncGenerator<Uint8Array, void> {
    const memory = Buffer.alloc(PART_BYTES);
    for (let at = 0; at < PARTS; at++) {
      const part = memory.fill(at).subarray(0, bytesOf(at));
      sent.update(part);
      yield part;
      memory.fill(0xff);
    }
  }
  const server = createServer((_, response) => void new PartStream(parts()).pipe(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const [response] = (await once(request({ port: (server.address() as AddressInfo).port }).end(), 'response')) as [IncomingMessage];
    const received = createHash('sha256');
    let pieces = 0;
    for await (const piece of response) {
      received.update(piece as Buffer);
      if (pieces++ % 20 === 0) await delay(5);
    }
    expect(received.digest('hex')).toBe(sent.digest('hex'));
  } finally {
    server.close();
  }
});

test('nothing is asked for that nobody reads, and what is left ends its parts', async () => {
  let [asked, ended] = [0, false];
  async function* parts(): AsyncGenerator<Uint8Array, void> {
    try {
      for (;;) {
        asked += 1;
        yield new Uint8Array(PART_BYTES);
      }
    } finally {
      ended = true;
    }
  }
  const stream = new PartStream(parts());
  stream.once('data', () => stream.pause());
  await once(stream, 'data');
  await delay(20);
  expect(asked).toBe(1);
  stream.destroy();
  await once(stream, 'close');
  expect(ended).toBe(true);
});

test('parts that fail fail the stream', async () => {
  async function* parts(): AsyncGenerator<Uint8Array, void> {
    yield new Uint8Array(1);
    throw new Error('on its way');
  }
  await expect((async () => { for await (const part of new PartStream(parts())) expect((part as Buffer).length).toBe(1); })()).rejects.toThrow('on its way');
});
