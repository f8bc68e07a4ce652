// What a server holds: rows, files, descriptors, processes. The same before and after, or something leaks.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Warehouse } from '../../ingest/warehouse.ts';

/** Of every public relation: rows, and a hash that does not depend on their order. */
export async function hashRelations(warehouse: Warehouse, relations: readonly string[]): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  for (const name of relations) {
    const { rows } = await warehouse.query(`SELECT count(*)::VARCHAR || ' ' || coalesce(sum(hash(t::VARCHAR)::HUGEINT), 0)::VARCHAR FROM "${name}" t`);
    hashes[name] = String(rows[0]?.[0]);
  }
  return hashes;
}

export const openFiles = (): number => readdirSync('/proc/self/fd').length;

export function childProcesses(): number {
  const parents = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
    try {
      const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
      return state === 'Z' ? undefined : Number(parent);
    } catch {
      return undefined;
    }
  });
  return parents.filter((parent) => parent === process.pid).length;
}

export const temporaryFiles = (folder: string): string[] => readdirSync(join(folder, 'tmp'), { recursive: true }).map(String);
