// What relations and their columns mean.
import { ORIGIN_COLUMNS, RELATIONS } from '../schema/relations.ts';
import type { Column, Relation } from '../schema/relations.ts';

const raw: Readonly<Record<string, Relation>> = RELATIONS;

export function describeRelation(relation: string): string {
  return raw[relation]?.doc ?? '';
}

export function describeColumn(relation: string, name: string): { doc: string; unit?: string } {
  const columns: readonly Column[] = [...ORIGIN_COLUMNS, ...(raw[relation]?.columns ?? [])];
  const column = columns.find((candidate) => candidate.name === name);
  return { doc: column?.doc ?? '', ...(column?.unit === undefined ? {} : { unit: column.unit }) };
}
