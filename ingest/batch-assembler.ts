// Frames of one run of the loader -> batches.
import type { RecordName } from '../schema/records.ts';
import { TracehouseError } from '../schema/errors.ts';
import { RELATION_NAMES, SCHEMA_VERSION } from '../schema/relations.ts';
import type { RelationName } from '../schema/relations.ts';
import './engine-flags.ts';
import { AddressTexts } from './address-text.ts';
import { BatchClock } from './batch-clock.ts';
import type { Batch, TableData } from './batch.ts';
import { FrameDecoder } from './frame-decoder.ts';
import { LossTable } from './loss-rows.ts';
import type { Loss } from './loss-rows.ts';
import { MessageTable } from './message-rows.ts';
import { ProcessTable } from './process-rows.ts';
import { readRecord } from './record-fields.ts';
import type { RecordValues } from './record-fields.ts';
import { Redactor } from './redaction.ts';
import { SocketEventTable } from './socket-event-rows.ts';
import type { SocketEvent } from './socket-event.ts';
import { SocketTracker } from './socket-tracker.ts';
import type { Side, SocketState } from './socket-state.ts';
import { TableBuilder } from './table-builder.ts';
import { ThreadEventTable } from './thread-event-rows.ts';

/** A row group of the stored tables: commits of exactly this size are the cheapest. */
export const BATCH_EVENTS = 30_720;
const CUT_EVERY_MS = 250;
/** A batch without rows only moves the watermark: that can wait, unless the one before it had rows. */
const EMPTY_EVERY_MS = 1000;
/** Rows of other tables that may come before a batch is cut whatever the time. */
const MOST_OTHER_ROWS = 65_536;

export interface RunStart {
  readonly run_id: bigint;
  readonly boot_id: string;
  readonly hostname: string;
  readonly kernel: string;
}

export interface AssemblerOptions {
  readonly node: string;
  readonly keep_payload: boolean;
  readonly keep_query: boolean;
  /** As in RedactionOptions. */
  readonly redact_headers?: readonly string[];
  readonly redact_paths?: readonly RegExp[];
  /** Its memory is its own until giveBack. */
  on_batch(batch: Batch): void;
  /** The loader should capture every event of this socket, or need not any more: encodeControl('control_follow', ...). */
  on_follow?(socket_id: bigint, on: boolean): void;
  /** A run has begun: the place to add a 'not_running' loss since the previous one. */
  on_start?(run: RunStart): void;
  /** Room for full batches from the beginning: for one that gets its batches back, see SpareMemory. */
  readonly whole_batches?: boolean;
  /** ms, any origin: when the first batch is due. */
  readonly now_ms?: number;
  readonly most_sockets?: number;
}

export class BatchAssembler {
  readonly #options: AssemblerOptions;
  readonly #decoder: FrameDecoder;
  readonly #texts = new AddressTexts();
  readonly #events: SocketEventTable;
  readonly #messages: MessageTable;
  readonly #threads = new ThreadEventTable(this.#texts);
  readonly #processes = new ProcessTable();
  readonly #losses = new LossTable();
  readonly #clocks = new TableBuilder('clocks');
  readonly #stacks = new TableBuilder('stacks');
  readonly #tables: Readonly<Record<RelationName, TableBuilder>>;
  /** Batches whose memory is in use. */
  readonly #lent = new WeakSet<Batch>();
  readonly #tracker: SocketTracker;
  readonly #redact: ((data: Uint8Array, start: number, end: number) => void) | null;
  readonly #redactor: Redactor;
  #run: RecordValues<'hello'> | null = null;
  readonly #clock = new BatchClock();
  /** CLOCK_MONOTONIC, and where it stood at the last cut. */
  #watermark = 0n;
  #last_watermark = 0n;
  #sequence = 0n;
  #last_cut_ms: number | undefined;
  #last_was_empty = false;
  #said_bye = false;
  #ended = false;
  #counters = { frames_unknown: 0, events: 0, undecodable: 0, batches: 0, kernel_events: 0n, kernel_lost: 0n, waited_bytes: 0n };

  constructor(options: AssemblerOptions) {
    this.#options = options;
    this.#last_cut_ms = options.now_ms;
    const { keep_query, redact_headers = [], redact_paths = [] } = options;
    const room = options.whole_batches === true ? BATCH_EVENTS : undefined;
    this.#events = new SocketEventTable(this.#texts, room);
    this.#messages = new MessageTable(this.#texts, redact_paths, room);
    this.#tables = {
      socket_events: this.#events.table, messages: this.#messages.table, thread_events: this.#threads.table, processes: this.#processes.table,
      losses: this.#losses.table, clocks: this.#clocks, stacks: this.#stacks,
    };
    this.#redactor = new Redactor({ keep_query, headers: redact_headers, paths: redact_paths });
    this.#redact = options.keep_payload ? (data, start, end) => this.#redactor.apply(data, start, end) : null;
    this.#tracker = new SocketTracker({
      rows: this.#messages,
      keep_query: options.keep_query,
      note_begins: options.keep_payload,
      on_event: (event, socket, side) => this.#onEvent(event, socket, side),
      on_follow: (socket, on) => options.on_follow?.((BigInt(socket.high >>> 0) << 32n) | BigInt(socket.low >>> 0), on),
      ...(options.most_sockets === undefined ? {} : { most_sockets: options.most_sockets }),
    });
    this.#decoder = new FrameDecoder({
      socketEvent: (words, base, bytes) => {
        if (!this.#tracker.handle(words, base, bytes)) this.#countUndecodable();
      },
      threadEvent: (words, base) => {
        if (!this.#threads.append(words, base)) this.#countUndecodable();
        else if (this.#threads.table.rows >= MOST_OTHER_ROWS) this.#cut();
      },
      record: (name, body) => this.#record(name, body),
      unknown: () => {
        this.#counters.frames_unknown += 1;
        this.#countUndecodable();
      },
    });
  }

  get counters(): Readonly<Record<string, number>> {
    const { kernel_events, kernel_lost, waited_bytes, ...own } = this.#counters;
    return {
      ...own,
      kernel_events: Number(kernel_events),
      kernel_lost: Number(kernel_lost),
      waited_bytes: Number(waited_bytes),
      sockets: this.#tracker.sockets,
      pending_events: this.#tracker.pending,
      open_messages: this.#tracker.book.open,
      ...this.#tracker.counters,
    };
  }

  /** Throws `loader-stream` when the bytes are not what the loader sends. */
  push(chunk: Uint8Array): void {
    this.#decoder.push(chunk);
  }

  /** Cuts the batch when it is due. Any clock will do; one that is set back begins anew. */
  tick(now_ms: number): void {
    if (this.#last_cut_ms === undefined || now_ms < this.#last_cut_ms) this.#last_cut_ms = now_ms;
    if (now_ms - this.#last_cut_ms < CUT_EVERY_MS) return;
    const empty = this.#isEmpty();
    if (empty && this.#last_was_empty && now_ms - this.#last_cut_ms < EMPTY_EVERY_MS) return;
    if (this.#cut()) this.#last_cut_ms = now_ms;
  }

  /** The stream has ended; the last batch says whether in order. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#run === null || this.#clock.pair === null) return;
    this.#tracker.end();
    this.#cut();
  }

  /** The batch is used no longer: its memory becomes that of later ones. Without this it is garbage like any other. */
  giveBack(batch: Batch): void {
    if (!this.#lent.delete(batch)) return;
    for (const name of RELATION_NAMES) this.#tables[name].giveBack(batch.tables[name]);
  }

  /** From outside the kernel: 'not_running', 'spool_full'. */
  addLoss(loss: Loss): void {
    this.#losses.add(loss);
  }

  #onEvent(event: SocketEvent, socket: SocketState, side: Side | null): void {
    if (this.#redact !== null) this.#redactor.prepare(event, socket, side);
    const appended = this.#events.append(event, this.#redact);
    if (this.#redact !== null) this.#redactor.done();
    if (!appended) {
      this.#countUndecodable();
      return;
    }
    this.#counters.events += 1;
    if (this.#events.table.rows >= BATCH_EVENTS) this.#cut();
  }

  #countUndecodable(): void {
    this.#losses.countUndecodable();
    this.#counters.undecodable += 1;
  }

  #record(name: RecordName, body: Uint8Array): void {
    switch (name) {
      case 'hello': {
        const run = this.#read(name, body);
        this.#run = run;
        this.#watermark = this.#last_watermark = run.started_mono_ns;
        this.#options.on_start?.({ run_id: run.run_id, boot_id: run.boot_id, hostname: run.hostname, kernel: run.kernel });
        break;
      }
      case 'clock':
        this.#clock.add(this.#read(name, body));
        break;
      case 'watermark': {
        const { mono_ns } = this.#read(name, body);
        if (mono_ns > this.#watermark) this.#watermark = mono_ns;
        this.#tracker.watermark(Number(mono_ns));
        break;
      }
      case 'process':
        this.#processes.add(this.#read(name, body));
        break;
      case 'loss': {
        const loss = this.#read(name, body);
        this.#losses.addKernel(loss);
        this.#counters.kernel_lost += loss.events_lost;
        break;
      }
      case 'stack':
        this.#stack(body);
        break;
      case 'bye': {
        const bye = this.#read(name, body);
        this.#counters.kernel_events = bye.events_seen;
        this.#counters.waited_bytes = bye.waited_bytes;
        this.#said_bye = true;
        this.end();
        break;
      }
      default:
        break;
    }
  }

  #read<R extends RecordName>(name: R, body: Uint8Array): RecordValues<R> {
    const values = readRecord(name, body);
    if (values === undefined) throw new TracehouseError('loader-stream', `the eBPF loader sent a ${name} record that is too short`);
    return values;
  }

  #stack(body: Uint8Array): void {
    const FRAME_BYTES = 32;
    const { stack_id, frame_count } = this.#read('stack', body);
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    const frames: string[] = [];
    for (let i = 0; i < frame_count && 16 + (i + 1) * FRAME_BYTES <= body.length; i += 1) {
      const at = 16 + i * FRAME_BYTES;
      frames.push(`${Buffer.from(body.subarray(at, at + 20)).toString('hex')}+${view.getBigUint64(at + 24, true).toString(16)}`);
    }
    this.#stacks.addRow({ stack_id, frames: frames.join(';') });
  }

  #isEmpty(): boolean {
    return (
      this.#events.table.rows === 0 && this.#messages.table.rows === 0 && this.#threads.table.rows === 0 && this.#processes.rows === 0 &&
      this.#stacks.rows === 0 && this.#losses.rows === 0
    );
  }

  /** False when it can't be: no run or no clock yet. */
  #cut(): boolean {
    const run = this.#run;
    const clock = this.#clock.pair;
    if (run === null || clock === null) {
      if (this.#events.table.rows >= BATCH_EVENTS) throw new TracehouseError('loader-stream', 'the eBPF loader sends events but no clock readings');
      return false;
    }
    this.#tracker.book.appendPartial();
    this.#last_was_empty = this.#isEmpty();
    const delta = clock.utc_ns - clock.mono_ns;
    const read = this.#last_was_empty ? null : this.#clock.takeNewest();
    if (read !== null) this.#clocks.addRow({ ...read });
    const pending = this.#tracker.oldestPending();
    const watermark = pending !== null && pending < this.#watermark ? pending : this.#watermark;
    this.#sequence += 1n;
    this.#counters.batches += 1;
    const final = this.#said_bye && this.#ended;
    const batch: Batch = {
      schema_version: SCHEMA_VERSION,
      node: this.#options.node,
      boot_id: run.boot_id,
      run_id: run.run_id,
      sequence: this.#sequence,
      mono_ns: clock.mono_ns,
      utc_ns: clock.utc_ns,
      error_ns: clock.error_ns,
      watermark_ns: watermark + delta,
      final,
      tables: this.#takeTables(delta, watermark),
    };
    this.#clock.adopt();
    this.#last_watermark = this.#watermark;
    this.#lent.add(batch);
    this.#options.on_batch(batch);
    return true;
  }

  #takeTables(delta: bigint, watermark: bigint): Record<RelationName, TableData> {
    toUtc(this.#events.table, ['ts_ns'], delta);
    toUtc(this.#messages.table, ['ts_ns', 'end_ts_ns', 'connect_ts_ns'], delta);
    toUtc(this.#threads.table, ['ts_ns'], delta);
    const tables: Record<RelationName, TableData> = {
      socket_events: this.#events.table.take(),
      messages: this.#messages.table.take(),
      thread_events: this.#threads.table.take(),
      processes: this.#processes.take(delta, watermark),
      losses: this.#losses.take(this.#tracker.book, delta, this.#last_watermark, this.#watermark),
      clocks: this.#clocks.take(),
      stacks: this.#stacks.take(),
    };
    this.#texts.forgetMany();
    return Object.fromEntries(RELATION_NAMES.map((name) => [name, tables[name]])) as Record<RelationName, TableData>;
  }
}

function toUtc(table: TableBuilder, columns: readonly string[], delta: bigint): void {
  const low = Number(BigInt.asIntN(32, delta));
  const high = Number(BigInt.asIntN(32, delta >> 32n));
  for (const name of columns) table.column(name, 'int64').addToAll(table.rows, low, high);
}
