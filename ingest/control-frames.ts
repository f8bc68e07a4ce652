// Frames for the loader's stdin.
import { FRAME_HEADER, FRAME_MAGIC, RECORDS, placeFields } from '../schema/records.ts';
import type { RecordLayout, RecordName } from '../schema/records.ts';
import { HEADER_BYTES } from './record-fields.ts';
import type { RecordValues } from './record-fields.ts';

export type ControlName = Extract<RecordName, `control_${string}`>;

/** One frame; fields that are left out are 0, strings empty. */
export function encodeControl<R extends ControlName>(name: R, values: Partial<RecordValues<R>> = {}): Uint8Array {
  const layout: RecordLayout = RECORDS[name];
  const given: Readonly<Record<string, unknown>> = values;
  const { placed, size } = placeFields(layout.fields);
  const strings = (layout.strings ?? []).map((key) => Buffer.from(String(given[key] ?? ''), 'utf8'));
  const used = strings.reduce((sum, string) => sum + 4 + string.length, size);
  const length = (used + 7) & ~7;
  const frame = new Uint8Array(HEADER_BYTES + length);
  const view = new DataView(frame.buffer);
  const header: Record<string, number> = { magic: FRAME_MAGIC, type: layout.id, length, used };
  for (const field of placeFields(FRAME_HEADER).placed) {
    const value = header[field.name] ?? 0;
    if (field.type === 'u16') view.setUint16(field.offset, value, true);
    else view.setUint32(field.offset, value, true);
  }
  for (const field of placed) {
    if (field.type !== 'u64') throw new Error(`${name}.${field.name} is no u64`);
    view.setBigUint64(HEADER_BYTES + field.offset, BigInt((given[field.name] ?? 0) as bigint), true);
  }
  let at = HEADER_BYTES + size;
  for (const string of strings) {
    view.setUint32(at, string.length, true);
    frame.set(string, at + 4);
    at += 4 + string.length;
  }
  return frame;
}
