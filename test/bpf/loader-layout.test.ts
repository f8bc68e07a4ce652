// The layouts in schema/records.ts, the committed header, and what the compiler made of it are one.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../schema/package-root.ts';
import { renderHeader } from '../../schema/generate-header.ts';
import { C_TYPES, FRAME_HEADER, RECORDS, placeFields } from '../../schema/records.ts';
import type { Field, RecordLayout } from '../../schema/records.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { OBJECT, build } from './built.ts';

interface BtfType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly size?: number;
  readonly type_id?: number;
  readonly nr_elems?: number;
  readonly members?: readonly { readonly name: string; readonly type_id: number; readonly bits_offset: number }[];
}

function btfOf(object: string): Map<number, BtfType> {
  const text = execFileSync('bpftool', ['btf', 'dump', 'file', object, '-j'], { encoding: 'utf8', maxBuffer: 1 << 26 });
  return new Map((JSON.parse(text) as { types: BtfType[] }).types.map((type) => [type.id, type]));
}

/** Size of a member, and how many elements it has, through typedefs and arrays. */
function shape(types: Map<number, BtfType>, id: number): { size: number; count: number } {
  const type = types.get(id);
  if (type === undefined) throw new Error(`no type ${id}`);
  if (type.kind === 'ARRAY') return { size: shape(types, type.type_id as number).size, count: type.nr_elems as number };
  if (type.kind === 'TYPEDEF') return shape(types, type.type_id as number);
  return { size: type.size as number, count: 1 };
}

function compare(types: Map<number, BtfType>, name: string, fields: readonly Field[]): void {
  const struct = [...types.values()].find((type) => type.kind === 'STRUCT' && type.name === `th_${name}`);
  const { placed, size } = placeFields(fields);
  expect(struct?.size, `th_${name} is in the BTF`).toBe(size);
  expect(struct?.members?.map((member) => ({ name: member.name, offset: member.bits_offset / 8, ...shape(types, member.type_id) }))).toEqual(
    placed.map((field) => ({ name: field.name === 'errno' ? 'error' : field.name, offset: field.offset, size: C_TYPES[field.type].size, count: field.count ?? 1 })),
  );
}

const layouts = Object.entries(RECORDS) as [string, RecordLayout][];

describe('record layouts', () => {
  beforeAll(build);

  test('the committed header is what schema/records.ts renders', () => {
    expect(readFileSync(join(packageRoot(), 'bpf/records.h'), 'utf8')).toBe(renderHeader());
  });

  test('the kernel programs were compiled with the layouts that the decoder takes', () => {
    const types = btfOf(OBJECT);
    compare(types, 'frame', FRAME_HEADER);
    compare(types, 'thread_event', RECORDS.thread_event.fields);
    // The loader's own header says these, for both sides; it walks from one to the next in steps of 8.
    for (const name of ['thread', 'socket', 'event', 'wake']) {
      const struct = [...types.values()].find((type) => type.kind === 'STRUCT' && type.name === `th_ring_${name}`);
      expect(struct?.size, `th_ring_${name} is in the BTF`).toBeGreaterThan(0);
      expect((struct?.size ?? 1) % 8).toBe(0);
    }
  });

  test('and so is every record that only the loader writes or reads', () => {
    const folder = temporaryFolder();
    const source = join(folder, 'all.c');
    const object = join(folder, 'all.o');
    const machine = execFileSync('uname', ['-m'], { encoding: 'utf8' }).trim();
    writeFileSync(source, ['#include <linux/types.h>', '#include "records.h"', ...layouts.map(([name]) => `struct th_${name} a_${name};`)].join('\n'));
    execFileSync('clang', ['-target', 'bpf', '-g', '-O2', `-I/usr/include/${machine}-linux-gnu`, '-I', join(packageRoot(), 'bpf'), '-c', source, '-o', object], { stdio: 'pipe' });
    const types = btfOf(object);
    for (const [name, layout] of layouts) compare(types, name, layout.fields);
  });
});
