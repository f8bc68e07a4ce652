import { THREAD_OPS } from '../schema/records.ts';
import type { AddressTexts } from './address-text.ts';
import { fieldOffset, wordOf } from './record-fields.ts';
import { u8 } from './socket-event.ts';
import { TableBuilder } from './table-builder.ts';

const MONO = wordOf('thread_event', 'mono_ns');
const THREAD = wordOf('thread_event', 'thread_id');
const PROCESS = wordOf('thread_event', 'process_id');
const TARGET_THREAD = wordOf('thread_event', 'target_thread_id');
const TARGET_PROCESS = wordOf('thread_event', 'target_process_id');
const KEY = wordOf('thread_event', 'key');
const COMM = wordOf('thread_event', 'comm');
const OP = fieldOffset('thread_event', 'op');
const IN_IRQ = fieldOffset('thread_event', 'in_irq');
const OP_NAMES: Readonly<Record<number, string>> = Object.fromEntries(Object.entries(THREAD_OPS).map(([name, id]) => [id, name]));

/** Fills the table `thread_events`. ts_ns is CLOCK_MONOTONIC until the batch is cut. */
export class ThreadEventTable {
  readonly table = new TableBuilder('thread_events');
  readonly #texts: AddressTexts;
  readonly #c = {
    ts_ns: this.table.column('ts_ns', 'int64'),
    mono_ns: this.table.column('mono_ns', 'int64'),
    process_id: this.table.column('process_id', 'int64'),
    thread_id: this.table.column('thread_id', 'int64'),
    op: this.table.column('op', 'dict'),
    target_thread_id: this.table.column('target_thread_id', 'int64'),
    target_process_id: this.table.column('target_process_id', 'int64'),
    comm: this.table.column('comm', 'dict'),
    in_irq: this.table.column('in_irq', 'bool'),
    key: this.table.column('key', 'int64'),
  };

  constructor(texts: AddressTexts) {
    this.#texts = texts;
  }

  /** False when the record's numbers have no meaning. */
  append(w: Int32Array, b: number): boolean {
    const op = u8(w, b, OP);
    if (OP_NAMES[op] === undefined) return false;
    const c = this.#c;
    const row = this.table.nextRow();
    c.ts_ns.set(row, w[b + MONO] as number, w[b + MONO + 1] as number);
    c.mono_ns.set(row, w[b + MONO] as number, w[b + MONO + 1] as number);
    c.process_id.setUnlessZero(row, w[b + PROCESS] as number, w[b + PROCESS + 1] as number);
    c.thread_id.setUnlessZero(row, w[b + THREAD] as number, w[b + THREAD + 1] as number);
    c.op.setNumbered(row, op, OP_NAMES);
    c.target_thread_id.setUnlessZero(row, w[b + TARGET_THREAD] as number, w[b + TARGET_THREAD + 1] as number);
    c.target_process_id.setUnlessZero(row, w[b + TARGET_PROCESS] as number, w[b + TARGET_PROCESS + 1] as number);
    c.comm.setNumbered(row, this.#texts.name(w, b + COMM), this.#texts.texts);
    c.in_irq.set(row, u8(w, b, IN_IRQ) !== 0);
    c.key.setUnlessZero(row, w[b + KEY] as number, w[b + KEY + 1] as number);
    return true;
  }
}
