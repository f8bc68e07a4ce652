// The Arrow schema of batches, from RELATIONS: one row is one batch, one list column a relation.
import { Bool, Binary, Dictionary, Field, Int32, Int64, List, Schema, Struct, Utf8 } from 'apache-arrow';
import type { DataType } from 'apache-arrow';
import { BATCH_COLUMNS, RELATIONS, RELATION_NAMES, SCHEMA_VERSION } from '../schema/relations.ts';
import type { Column, RelationName } from '../schema/relations.ts';

export interface ArrowSchema {
  readonly schema: Schema;
  /** Of each relation: the struct of its columns, in order. */
  readonly structs: Readonly<Record<RelationName, Struct>>;
}

const TYPES = {
  int64: () => new Int64(),
  int32: () => new Int32(),
  bool: () => new Bool(),
  text: () => new Utf8(),
  blob: () => new Binary(),
} as const;

/** Dictionary ids count from 1 in the order of the columns. */
export function arrowSchema(): ArrowSchema {
  let dictionary_id = 0;
  const field = (column: Column, flat: boolean): Field => {
    let type: DataType;
    if (column.type !== 'dict') {
      type = TYPES[column.type]();
    } else if (flat) {
      type = new Utf8();
    } else {
      dictionary_id += 1;
      type = new Dictionary(new Utf8(), new Int32(), dictionary_id);
    }
    return new Field(column.name, type, column.nullable, metadata({ doc: column.doc, unit: column.unit }));
  };
  const structs = Object.fromEntries(
    RELATION_NAMES.map((name) => [name, new Struct((RELATIONS[name].columns as readonly Column[]).map((column) => field(column, false)))]),
  ) as Record<RelationName, Struct>;
  const flat = BATCH_COLUMNS.map((column) => field(column, true));
  const lists = RELATION_NAMES.map((name) => new Field(name, new List(new Field('item', structs[name], false)), false, metadata({ doc: RELATIONS[name].doc, unit: undefined })));
  return { schema: new Schema([...flat, ...lists], metadata({ doc: undefined, unit: undefined, tracehouse_schema_version: String(SCHEMA_VERSION) })), structs };
}

function metadata(entries: Readonly<Record<string, string | undefined>>): Map<string, string> {
  return new Map(Object.entries(entries).flatMap(([key, value]) => (value === undefined || value === '' ? [] : [[key, value]])) as [string, string][]);
}
