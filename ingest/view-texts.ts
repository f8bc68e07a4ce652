// The public views as text, so that the same view can be read over a part of what is stored.
import { sqlFiles } from './segment-tables.ts';

/** A view that reads one stored table once: what stands before and after that table. */
export interface ViewText {
  readonly table: string;
  readonly before: string;
  readonly after: string;
}

const VIEW = /^CREATE OR REPLACE VIEW (\w+) AS\s([^;]*);/gm;

/** Of those in the folder that read a single stored table. */
export function viewTexts(folder: string): ReadonlyMap<string, ViewText> {
  const found = new Map<string, ViewText>();
  for (const { sql } of sqlFiles(folder)) {
    for (const [, name, body] of sql.matchAll(VIEW) as Iterable<[string, string, string]>) {
      const [before, table, after, ...more] = body.split(/\bstored\.(\w+)/);
      if (before !== undefined && table !== undefined && after !== undefined && more.length === 0) found.set(name, { table, before, after });
    }
  }
  return found;
}
