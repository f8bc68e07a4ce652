// Writes what the loader writes, from the same table: frames for tests.
import { ABI_VERSION, FRAME_MAGIC, OPS, RECORDS, placeFields } from '../schema/records.ts';
import type { RecordLayout, RecordName } from '../schema/records.ts';

export type Values = Readonly<Record<string, bigint | number | string | Uint8Array | undefined>>;

const PLACED = new Map(Object.entries(RECORDS).map(([name, record]) => [name, placeFields(record.fields)]));

/** One frame; fields that are left out are 0. `payload` follows a socket event, `frames` a stack. */
export function frame(name: RecordName, values: Values = {}): Buffer {
  const layout: RecordLayout = RECORDS[name];
  const { placed, size } = PLACED.get(name) as ReturnType<typeof placeFields>;
  const fixed = Buffer.alloc(size);
  for (const field of placed) {
    const value = values[field.name] ?? 0;
    if (value instanceof Uint8Array) fixed.set(value, field.offset);
    else if (field.count !== undefined) fixed.write(String(value === 0 ? '' : value), field.offset, field.size);
    else if (field.type === 'u64' || field.type === 's64') fixed.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), field.offset);
    else if (field.type === 'u32') fixed.writeUInt32LE(Number(value), field.offset);
    else if (field.type === 's32') fixed.writeInt32LE(Number(value), field.offset);
    else if (field.type === 'u16') fixed.writeUInt16LE(Number(value), field.offset);
    else fixed.writeUInt8(Number(value), field.offset);
  }
  const tail: Buffer[] = [];
  for (const string of layout.strings ?? []) {
    const bytes = Buffer.from(String(values[string] ?? ''));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    tail.push(length, bytes);
  }
  const payload = values['payload'] ?? values['frames'];
  if (payload instanceof Uint8Array) tail.push(Buffer.from(payload));
  return rawFrame(layout.id, Buffer.concat([fixed, ...tail]));
}

export function rawFrame(type: number, body: Uint8Array): Buffer {
  const length = (body.length + 7) & ~7;
  const whole = Buffer.alloc(16 + length);
  whole.writeUInt32LE(FRAME_MAGIC, 0);
  whole.writeUInt16LE(type, 4);
  whole.writeUInt32LE(length, 8);
  whole.writeUInt32LE(body.length, 12);
  whole.set(body, 16);
  return whole;
}

/** 2026-01-01T00:00:00Z, where CLOCK_MONOTONIC stands at zero in tests. */
export const UTC_ZERO = 1_767_225_600_000_000_000n;
export const RUN_ID = 1_767_225_599_000_000_000n;

export function runStart(): Buffer {
  return Buffer.concat([
    frame('hello', { run_id: RUN_ID, abi_version: ABI_VERSION, cpus: 2, started_mono_ns: 1n, boot_id: 'boot-1', hostname: 'host', kernel: '6.18.0' }),
    frame('clock', { mono_ns: 0n, utc_ns: UTC_ZERO, error_ns: 50n }),
  ]);
}

export interface SocketOptions {
  /** Both ends' roles as OPS/ROLES numbers: 1 client, 2 server, 0 unknown. */
  readonly role?: number;
  readonly socket_id?: bigint;
  /** Payload bytes that a call may have captured; as the kernel does, counted since the other direction moved. */
  readonly budget?: number;
  readonly flags?: number;
  /** Stream offsets at which the test begins, for connections older than the collector. */
  readonly sent?: number;
  readonly received?: number;
}

/** One socket as the kernel sees it: calls in, frames out. */
export class TestSocket {
  readonly #options: Required<SocketOptions>;
  #sent: number;
  #received: number;
  #time: { ns: bigint };
  readonly #phase = [{ other: -1, used: 0 }, { other: -1, used: 0 }];

  constructor(options: SocketOptions = {}, time: { ns: bigint } = { ns: 1_000_000n }) {
    this.#options = { role: 2, socket_id: 77n, budget: 256, flags: 0, sent: 0, received: 0, ...options };
    this.#sent = this.#options.sent;
    this.#received = this.#options.received;
    this.#time = time;
  }

  event(op: keyof typeof OPS, values: Values = {}): Buffer {
    this.#time.ns += 1000n;
    return frame('socket_event', {
      mono_ns: this.#time.ns, thread_id: 501n, process_id: 401n, socket_id: this.#options.socket_id, conn_id: 9001n, turn: 5n, cgroup_id: 31n,
      pid: 400, tid: 501, fd: 7, netns: 4026531840, family: 2, local_port: 8080, remote_port: 41000, local_ip: Uint8Array.of(127, 0, 0, 1), remote_ip: Uint8Array.of(10, 0, 0, 9),
      comm: 'worker', syscall: 0, role: this.#options.role, flags: this.#options.flags, op: OPS[op], ...values,
    });
  }

  read(bytes: string | Uint8Array, values: Values = {}): Buffer {
    return this.#move('read', Buffer.from(bytes as string), values);
  }

  write(bytes: string | Uint8Array, values: Values = {}): Buffer {
    return this.#move('write', Buffer.from(bytes as string), values);
  }

  /** Bytes that moved without an event. */
  skip(direction: 'read' | 'write', count: number): void {
    if (direction === 'read') this.#received += count;
    else this.#sent += count;
  }

  #move(op: 'read' | 'write', bytes: Buffer, values: Values): Buffer {
    const out = op === 'write';
    const offset = out ? this.#sent : this.#received;
    const other = out ? this.#received : this.#sent;
    const phase = this.#phase[out ? 1 : 0] as { other: number; used: number };
    if (phase.other !== other) Object.assign(phase, { other, used: 0 });
    const captured = Math.max(0, Math.min(bytes.length, this.#options.budget - phase.used));
    phase.used += captured;
    if (out) this.#sent += bytes.length;
    else this.#received += bytes.length;
    const tail = Buffer.alloc(8);
    const tail_length = captured < bytes.length ? Math.min(8, bytes.length) : 0;
    if (tail_length > 0) bytes.copy(tail, 8 - tail_length, bytes.length - tail_length);
    return this.event(op, {
      stream_offset: BigInt(offset), other_offset: BigInt(other), bytes: bytes.length, tail: tail.readBigUInt64LE(), tail_length,
      payload_length: captured, payload: bytes.subarray(0, captured), flags: this.#options.flags | (captured < bytes.length ? 1 : 0), ...values,
    });
  }
}
