// What relations and their columns mean: said of the public one, else of the raw one behind it, else of all that bear
// the name.
import { COMMON_COLUMNS, PUBLIC_RELATIONS } from '../schema/public-relations.ts';
import type { PublicColumnDoc } from '../schema/public-relations.ts';
import { RELATIONS } from '../schema/relations.ts';
import type { Column, Relation } from '../schema/relations.ts';

const RAW: Readonly<Record<string, Relation>> = RELATIONS;

export function describeRelation(relation: string): string {
  return PUBLIC_RELATIONS[relation]?.doc ?? RAW[relation]?.doc ?? '';
}

function rawColumn(relation: string, name: string): PublicColumnDoc | undefined {
  const column = (RAW[relation]?.columns as readonly Column[] | undefined)?.find((candidate) => candidate.name === name);
  if (column === undefined || column.doc === '') return undefined;
  return column.unit === undefined ? { doc: column.doc } : { doc: column.doc, unit: column.unit };
}

export function describeColumn(relation: string, name: string): PublicColumnDoc {
  return PUBLIC_RELATIONS[relation]?.columns[name] ?? rawColumn(relation, name) ?? COMMON_COLUMNS[name] ?? { doc: '' };
}
