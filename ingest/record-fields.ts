// Where the fields of a record lie, and how records other than the hot ones are read whole.
import { FRAME_HEADER, RECORDS, placeFields } from '../schema/records.ts';
import type { CType, Field, RecordLayout, RecordName } from '../schema/records.ts';

type FieldOf<R extends RecordName> = (typeof RECORDS)[R]['fields'][number];
type StringOf<R extends RecordName> = (typeof RECORDS)[R] extends { readonly strings: readonly (infer S extends string)[] } ? S : never;
type Value<T extends CType> = T extends 'u64' | 's64' ? bigint : number;

/** A record as an object: 64-bit fields as bigint, arrays as bytes, strings by name. */
export type RecordValues<R extends RecordName> = {
  [F in FieldOf<R> as F['name']]: F extends { readonly count: number } ? Uint8Array : Value<F['type']>;
} & { [S in StringOf<R>]: string };

export const HEADER_BYTES = placeFields(FRAME_HEADER).size;

/** Bytes of the fixed part. */
export function fixedBytes(record: RecordName): number {
  return placeFields(RECORDS[record].fields).size;
}

/** Byte offset of a field in its record's body. */
export function fieldOffset<R extends RecordName>(record: R, field: FieldOf<R>['name']): number {
  const found = placeFields(RECORDS[record].fields).placed.find((one) => one.name === field);
  if (found === undefined) throw new Error(`${record} has no field ${field}`);
  return found.offset;
}

/** Index of a field that is aligned to 4, in 32-bit words; a 64-bit field's low half. */
export function wordOf<R extends RecordName>(record: R, field: FieldOf<R>['name']): number {
  return fieldOffset(record, field) >> 2;
}

const RECORD_OF_ID = new Map<number, RecordName>((Object.keys(RECORDS) as RecordName[]).map((name) => [RECORDS[name].id, name]));

export function recordName(id: number): RecordName | undefined {
  return RECORD_OF_ID.get(id);
}

function readField(view: DataView, field: Field, at: number): bigint | number | Uint8Array {
  if (field.count !== undefined) return new Uint8Array(view.buffer, view.byteOffset + at, field.count).slice();
  switch (field.type) {
    case 'u8': return view.getUint8(at);
    case 'u16': return view.getUint16(at, true);
    case 'u32': return view.getUint32(at, true);
    case 's32': return view.getInt32(at, true);
    case 'u64': return view.getBigUint64(at, true);
    case 's64': return view.getBigInt64(at, true);
  }
}

/** Reads a record whose fixed part is known to be there; undefined when its strings overrun it. */
export function readRecord<R extends RecordName>(record: R, body: Uint8Array): RecordValues<R> | undefined {
  const layout: RecordLayout = RECORDS[record];
  const { placed, size } = placeFields(layout.fields);
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const values: Record<string, bigint | number | string | Uint8Array> = {};
  for (const field of placed) values[field.name] = readField(view, field, field.offset);
  let at = size;
  for (const name of layout.strings ?? []) {
    if (at + 4 > body.length) return undefined;
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > body.length) return undefined;
    values[name] = utf8(body.subarray(at, at + length));
    at += length;
  }
  return values as RecordValues<R>;
}

const decoder = new TextDecoder();

/** Bytes that anyone may have chosen, as valid text; ends at the first NUL. */
export function utf8(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}
