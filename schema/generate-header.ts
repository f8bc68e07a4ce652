// The text of bpf/records.h, which `npm run generate` writes; a test fails when the committed header differs.
import { ABI_VERSION, EVENT_FLAGS, FRAME_HEADER, FRAME_MAGIC, LAYERS, LOSS_CAUSES, OPS, RECORDS, ROLES, THREAD_OPS, placeFields } from './records.ts';
import type { Field, RecordLayout } from './records.ts';

const C_NAMES = { u8: '__u8', u16: '__u16', u32: '__u32', s32: '__s32', u64: '__u64', s64: '__s64' } as const;

/** errno is a macro in C. */
const cName = (name: string): string => (name === 'errno' ? 'error' : name);

function struct(name: string, doc: string, fields: readonly Field[]): string {
  const { size } = placeFields(fields);
  const lines = fields.map((f) => `\t${C_NAMES[f.type]} ${cName(f.name)}${f.count === undefined ? '' : `[${f.count}]`};${f.doc === '' ? '' : ` /* ${f.doc} */`}`);
  return `/* ${doc} */\nstruct th_${name} {\n${lines.join('\n')}\n};\n_Static_assert(sizeof(struct th_${name}) == ${size}, "th_${name}");\n`;
}

function constants(prefix: string, table: Record<string, number>): string {
  return Object.entries(table).map(([key, value]) => `#define TH_${prefix}_${key.toUpperCase()} ${value}`).join('\n') + '\n';
}

/** The whole text of bpf/records.h. */
export function renderHeader(): string {
  const records = Object.entries(RECORDS) as [string, RecordLayout][];
  return [
    '/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */',
    '/* Generated from schema/records.ts: change that and run `npm run generate`. */',
    '#ifndef TH_RECORDS_H\n#define TH_RECORDS_H\n',
    `#define TH_ABI_VERSION ${ABI_VERSION}`,
    `#define TH_FRAME_MAGIC ${FRAME_MAGIC}u\n`,
    constants('OP', OPS),
    constants('ROLE', ROLES),
    constants('LAYER', LAYERS),
    constants('FLAG', EVENT_FLAGS),
    constants('THREAD', THREAD_OPS),
    constants('LOSS', LOSS_CAUSES),
    records.map(([name, r]) => `#define TH_RECORD_${name.toUpperCase()} ${r.id}`).join('\n') + '\n',
    struct('frame', 'Precedes every record on the pipe.', FRAME_HEADER),
    ...records.map(([name, r]) => struct(name, r.doc, r.fields)),
    '#endif\n',
  ].join('\n');
}
