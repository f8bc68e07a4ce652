// The public views as text, so that the same view can be read over a part of what is stored.
import { sqlFiles } from './segment-tables.ts';

/** A view that reads one stored table once: what stands before and after that table. */
export interface ViewText {
  readonly table: string;
  readonly before: string;
  readonly after: string;
  /** Each column as the view makes it, by its name. */
  readonly columns: ReadonlyMap<string, string>;
}

const VIEW = /^CREATE OR REPLACE VIEW (\w+) AS\s([^;]*);/gm;

/** `before` is SELECT, a list, FROM: its items are parted by the commas that lie in no brackets and no quotes. */
function columnsOf(before: string): ReadonlyMap<string, string> {
  const list = before.replace(/^\s*SELECT\s/, '').replace(/\sFROM\s*$/, '');
  const items: string[] = [];
  let [depth, from] = [0, 0];
  for (const { 0: mark, index } of list.matchAll(/'[^']*'|[(),]/g)) {
    if (mark === '(') depth += 1;
    else if (mark === ')') depth -= 1;
    else if (mark === ',' && depth === 0) {
      items.push(list.slice(from, index));
      from = index + 1;
    }
  }
  items.push(list.slice(from));
  return new Map(items.map((item) => [/(\w+)\s*$/.exec(item)?.[1] ?? '', item.trim()]));
}

/** Of those in the folder that read a single stored table. */
export function viewTexts(folder: string): ReadonlyMap<string, ViewText> {
  const found = new Map<string, ViewText>();
  for (const { sql } of sqlFiles(folder)) {
    for (const [, name, body] of sql.matchAll(VIEW) as Iterable<[string, string, string]>) {
      const [before, table, after, ...more] = body.split(/\bstored\.(\w+)/);
      if (before !== undefined && table !== undefined && after !== undefined && more.length === 0) found.set(name, { table, before, after, columns: columnsOf(before) });
    }
  }
  return found;
}
