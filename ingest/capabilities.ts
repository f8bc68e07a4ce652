// What the loader says of the kernel: capability frames, read whole.
import { FRAME_HEADER, FRAME_MAGIC, RECORDS, placeFields } from '../schema/records.ts';

export interface Capability {
  readonly name: string;
  readonly ok: boolean;
  readonly required: boolean;
  /** The hook or mechanism chosen. */
  readonly hook: string;
  /** What to do when it is missing. */
  readonly mend: string;
}

function offsetOf(fields: Parameters<typeof placeFields>[0], name: string): number {
  const field = placeFields(fields).placed.find((one) => one.name === name);
  if (field === undefined) throw new Error(`no field ${name}`);
  return field.offset;
}

/** The capability frames in the output of `tracehouse-loader --probe`. */
export function readCapabilities(bytes: Uint8Array): Capability[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = placeFields(FRAME_HEADER).size;
  const record = RECORDS.capability;
  const fixed = placeFields(record.fields).size;
  const found: Capability[] = [];
  let at = 0;
  while (at + header <= bytes.byteLength && view.getUint32(at, true) === FRAME_MAGIC) {
    const type = view.getUint16(at + offsetOf(FRAME_HEADER, 'type'), true);
    const length = view.getUint32(at + offsetOf(FRAME_HEADER, 'length'), true);
    const body = at + header;
    if (body + length > bytes.byteLength) break;
    if (type === record.id) {
      const strings: string[] = [];
      let cursor = body + fixed;
      for (let i = 0; i < record.strings.length; i += 1) {
        const size = view.getUint32(cursor, true);
        strings.push(new TextDecoder().decode(bytes.subarray(cursor + 4, cursor + 4 + size)));
        cursor += 4 + size;
      }
      found.push({
        ok: view.getUint32(body + offsetOf(record.fields, 'ok'), true) === 1,
        required: view.getUint32(body + offsetOf(record.fields, 'required'), true) === 1,
        name: strings[0] ?? '',
        hook: strings[1] ?? '',
        mend: strings[2] ?? '',
      });
    }
    at = body + length;
  }
  return found;
}
