// One machine of the fleet: its clock, its threads' names, and the pipe of its loader, which ends in the decoder that a real one ends in.
import { BatchAssembler } from '../../ingest/batch-assembler.ts';
import type { Batch } from '../../ingest/batch.ts';
import { fieldOffset, fixedBytes, wordOf } from '../../ingest/record-fields.ts';
import { ABI_VERSION, FRAME_MAGIC, LOSS_CAUSES, RECORDS, THREAD_OPS } from '../../schema/records.ts';
import { frame } from '../../test/frames.ts';
import type { Values } from '../../test/frames.ts';
import type { Actor, EventHeap } from './event-heap.ts';
import type { Random } from './random.ts';

export const HEADER_WORDS = 4;
const CHUNK_WORDS = 65_536;
/** The longest socket event, with its payload. */
const ROOM_WORDS = 512;
const TICK_NS = 50e6;
const CLOCK_NS = 1e9;
const T = {
  mono: wordOf('thread_event', 'mono_ns'), thread: wordOf('thread_event', 'thread_id'), process: wordOf('thread_event', 'process_id'), target_thread: wordOf('thread_event', 'target_thread_id'),
  target_process: wordOf('thread_event', 'target_process_id'), pid: wordOf('thread_event', 'pid'), tid: wordOf('thread_event', 'tid'), target_pid: wordOf('thread_event', 'target_pid'), target_tid: wordOf('thread_event', 'target_tid'),
  op: fieldOffset('thread_event', 'op'), comm: wordOf('thread_event', 'comm'), words: fixedBytes('thread_event') >> 2,
} as const;

export interface NodeThread {
  readonly low: number;
  readonly high: number;
  readonly tid: number;
  readonly pid: number;
  readonly process_low: number;
  readonly process_high: number;
  readonly comm: Int32Array;
}

export interface NodeOptions {
  readonly name: string;
  readonly address: string;
  /** ns since 1970 when the simulation begins, by this node's clock. */
  readonly utc_ns: bigint;
  readonly mono_ns: bigint;
  /** How much faster than true time its clock runs. */
  readonly drift: number;
  /** Of its events, in bursts. */
  readonly loss_share: number;
  readonly keep_payload: boolean;
  readonly on_batch: (batch: Batch) => void;
  /** What its loader would have written, piece by piece; valid during the call. */
  readonly on_frames?: (bytes: Uint8Array) => void;
}

export class SimulatedNode implements Actor {
  readonly name: string;
  readonly address: string;
  readonly keeps_payload: boolean;
  readonly words = new Int32Array(CHUNK_WORDS + ROOM_WORDS);
  readonly bytes = new Uint8Array(this.words.buffer);
  /** Words used. */
  used = 0;
  events = 0;
  events_lost = 0;
  readonly #assembler: BatchAssembler;
  readonly #options: NodeOptions;
  readonly #random: Random;
  readonly #heap: EventHeap;
  readonly #mono_zero: number;
  #clock_due = CLOCK_NS;
  #loss_from = Infinity;
  #loss_to = Infinity;
  #lost_in_burst = 0;
  readonly #told_losses: Buffer[] = [];
  #ended = false;

  constructor(options: NodeOptions, random: Random, heap: EventHeap) {
    this.#options = options;
    this.#random = random;
    this.#heap = heap;
    this.name = options.name;
    this.address = options.address;
    this.keeps_payload = options.keep_payload;
    this.#mono_zero = Number(options.mono_ns);
    this.#assembler = new BatchAssembler({ node: options.name, keep_payload: options.keep_payload, keep_query: false, on_batch: options.on_batch, now_ms: random.index(250) });
    const boot_id = Array.from({ length: 4 }, () => (random.word() >>> 0).toString(16).padStart(8, '0')).join('-');
    this.record('hello', { run_id: options.utc_ns - 3_000_000_000n, abi_version: ABI_VERSION, cpus: 16, ring_bytes: 128 * 2 ** 20, started_mono_ns: options.mono_ns, boot_id, hostname: options.name, kernel: '6.12.9' });
    this.#tellClock(0);
    this.#planLoss(0);
    heap.push(TICK_NS * random.next(), this);
  }

  /** CLOCK_MONOTONIC then. */
  monoAt(at: number): number {
    return this.#mono_zero + Math.floor(at * (1 + this.#options.drift));
  }

  record(name: keyof typeof RECORDS, values: Values): void {
    this.flush();
    this.#say(frame(name, values));
  }

  /** Where the next frame goes; what it says is given by advance(). */
  room(): number {
    if (this.used >= CHUNK_WORDS) this.flush();
    return this.used;
  }

  /** The frame there is whole. False when the ring had no room for it: it is lost. */
  advance(at: number, words: number): void {
    if (at >= this.#loss_from && this.#isLost(at)) return;
    this.used += words;
    this.events += 1;
  }

  threadEvent(at: number, op: keyof typeof THREAD_OPS, who: NodeThread, target: NodeThread | null): void {
    const to = this.room();
    const { words, bytes } = this;
    words.fill(0, to, to + HEADER_WORDS + T.words);
    frameHeader(words, to, RECORDS.thread_event.id, T.words * 4);
    const base = to + HEADER_WORDS;
    setLong(words, base + T.mono, this.monoAt(at));
    words[base + T.thread] = who.low;
    words[base + T.thread + 1] = who.high;
    words[base + T.process] = who.process_low;
    words[base + T.process + 1] = who.process_high;
    words[base + T.pid] = who.pid;
    words[base + T.tid] = who.tid;
    if (target !== null) {
      words[base + T.target_thread] = target.low;
      words[base + T.target_thread + 1] = target.high;
      words[base + T.target_pid] = target.pid;
      words[base + T.target_tid] = target.tid;
      if (op === 'fork') {
        words[base + T.target_process] = target.process_low;
        words[base + T.target_process + 1] = target.process_high;
      }
    }
    bytes[base * 4 + T.op] = THREAD_OPS[op];
    words.set(who.comm, base + T.comm);
    if (at >= this.#loss_from && this.#isLost(at)) return;
    this.used += HEADER_WORDS + T.words;
  }

  flush(): void {
    if (this.used === 0) return;
    const chunk = this.bytes.subarray(0, this.used * 4);
    this.used = 0;
    this.#say(chunk);
  }

  #say(bytes: Uint8Array): void {
    this.#options.on_frames?.(bytes);
    this.#assembler.push(bytes);
  }

  /** The loader reads the clocks, says how far it is, and what was lost. */
  act(at: number): void {
    if (this.#ended) return;
    if (at >= this.#loss_to) this.#isLost(at);
    for (const loss of this.#told_losses.splice(0)) {
      this.flush();
      this.#say(loss);
    }
    if (at >= this.#clock_due) this.#tellClock(at);
    this.record('watermark', { mono_ns: BigInt(this.monoAt(at)) });
    this.#assembler.tick(at / 1e6 + 1000);
    this.#heap.push(at + TICK_NS, this);
  }

  end(at: number): void {
    this.act(at);
    this.#ended = true;
    this.record('watermark', { mono_ns: BigInt(this.monoAt(at)) });
    this.record('bye', { events_seen: BigInt(this.events), events_lost: BigInt(this.events_lost) });
  }

  #tellClock(at: number): void {
    const error = 40 + this.#random.index(400);
    const mono = BigInt(this.monoAt(at));
    const utc = mono - this.#options.mono_ns + this.#options.utc_ns;
    this.record('clock', { mono_ns: mono, utc_ns: utc + BigInt(this.#random.index(error * 2) - error), error_ns: BigInt(error) });
    this.#clock_due = at + CLOCK_NS;
  }

  #planLoss(at: number): void {
    const share = this.#options.loss_share;
    if (share <= 0) return;
    const length = 1e6 + this.#random.exponential(1e6);
    this.#loss_from = at + this.#random.exponential(length / share);
    this.#loss_to = this.#loss_from + length;
  }

  /** Counts what is lost; after the burst, says so. */
  #isLost(at: number): boolean {
    if (at < this.#loss_to) {
      this.#lost_in_burst += 1;
      return true;
    }
    const [from, to, lost] = [this.#loss_from, this.#loss_to, this.#lost_in_burst];
    this.#lost_in_burst = 0;
    this.events_lost += lost;
    this.#planLoss(at);
    if (lost > 0) {
      this.#told_losses.push(frame('loss', { from_mono_ns: BigInt(this.monoAt(from)), to_mono_ns: BigInt(this.monoAt(to)), events_lost: BigInt(lost), cpu: this.#random.index(16), cause: LOSS_CAUSES.ring_full }));
    }
    return false;
  }
}

export function frameHeader(words: Int32Array, at: number, type: number, used_bytes: number): void {
  words[at] = FRAME_MAGIC;
  words[at + 1] = type;
  words[at + 2] = (used_bytes + 7) & ~7;
  words[at + 3] = used_bytes;
}

/** A 64-bit number, up to 2^53. */
export function setLong(words: Int32Array, at: number, value: number): void {
  if (value < 4294967296) {
    words[at] = value;
    words[at + 1] = 0;
    return;
  }
  const high = Math.floor(value / 4294967296);
  words[at] = value - high * 4294967296;
  words[at + 1] = high;
}
