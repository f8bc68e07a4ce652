// A stream of frames from the loader, decoded by the product's own decoder and kept by kind.
import { FrameDecoder } from '../../ingest/frame-decoder.ts';
import { fixedBytes, readRecord, utf8 } from '../../ingest/record-fields.ts';
import type { RecordValues } from '../../ingest/record-fields.ts';
import { EVENT_FLAGS, LOSS_CAUSES, OPS, type RecordName } from '../../schema/records.ts';

export type SocketEvent = RecordValues<'socket_event'> & { readonly payload: Buffer; readonly thread_name: string };

export class FrameLog {
  readonly events: SocketEvent[] = [];
  readonly threads: RecordValues<'thread_event'>[] = [];
  readonly processes: RecordValues<'process'>[] = [];
  readonly losses: RecordValues<'loss'>[] = [];
  readonly capabilities: RecordValues<'capability'>[] = [];
  readonly clocks: RecordValues<'clock'>[] = [];
  readonly stacks: RecordValues<'stack'>[] = [];
  readonly watermarks: bigint[] = [];
  /** Record names in the order in which they came. */
  readonly order: string[] = [];
  hello: RecordValues<'hello'> | undefined;
  bye: RecordValues<'bye'> | undefined;
  readonly #decoder = new FrameDecoder({
    socketEvent: (_words, base, bytes) => this.#socketEvent(bytes.subarray(base * 4)),
    threadEvent: (_words, base, bytes) => {
      this.threads.push(read('thread_event', bytes.slice(base * 4, base * 4 + fixedBytes('thread_event'))));
    },
    record: (name, body) => this.#record(name, body),
    unknown: (id) => this.order.push(`unknown ${id}`),
  });

  push(chunk: Uint8Array): void {
    this.#decoder.push(chunk);
  }

  #socketEvent(bytes: Uint8Array): void {
    const fixed = fixedBytes('socket_event');
    const event = read('socket_event', bytes.slice(0, fixed));
    this.order.push('socket_event');
    this.events.push({ ...event, payload: Buffer.from(bytes.slice(fixed, fixed + event.payload_length)), thread_name: utf8(event.comm) });
  }

  #record(name: RecordName, body: Uint8Array): void {
    this.order.push(name);
    if (name === 'hello') this.hello = read(name, body);
    else if (name === 'bye') this.bye = read(name, body);
    else if (name === 'process') this.processes.push(read(name, body));
    else if (name === 'loss') this.losses.push(read(name, body));
    else if (name === 'capability') this.capabilities.push(read(name, body));
    else if (name === 'clock') this.clocks.push(read(name, body));
    else if (name === 'stack') this.stacks.push(read(name, body));
    else if (name === 'watermark') this.watermarks.push(read(name, body).mono_ns);
  }

  of(op: keyof typeof OPS): SocketEvent[] {
    return this.events.filter((event) => event.op === OPS[op]);
  }

  lost(...causes: (keyof typeof LOSS_CAUSES)[]): number {
    const wanted = new Set<number>(causes.map((cause) => LOSS_CAUSES[cause]));
    return this.losses.filter((loss) => wanted.has(loss.cause)).reduce((sum, loss) => sum + Number(loss.events_lost), 0);
  }
}

export function hasFlag(event: SocketEvent, flag: keyof typeof EVENT_FLAGS): boolean {
  return (event.flags & EVENT_FLAGS[flag]) !== 0;
}

function read<R extends RecordName>(name: R, body: Uint8Array): RecordValues<R> {
  const values = readRecord(name, body);
  if (values === undefined) throw new Error(`a broken ${name} record`);
  return values;
}
