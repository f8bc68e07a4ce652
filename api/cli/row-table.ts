// Rows of an SQL answer as a table for people.
import { cellsOf, fit, printable } from './terminal-text.ts';

export interface SqlAnswer {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly (readonly unknown[])[];
  readonly row_count: number;
  readonly truncated: boolean;
}

const NUMBER = /^(?:U?(?:TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL.*)$/;
/** Columns are cut to fit a terminal, but not below this. */
const NARROWEST = 6;

function cellText(value: unknown): string {
  if (value === null || value === undefined) return 'NULL';
  return printable(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** Takes cells from the widest columns until all fit, or all are as narrow as they may be. */
function shrink(widths: number[], room: number): void {
  let over = widths.reduce((sum, width) => sum + width, 0) - room;
  while (over > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const width = widths[widest] as number;
    if (width <= NARROWEST) return;
    const next = Math.max(NARROWEST, ...widths.filter((other) => other < width));
    const less = Math.min(over, Math.max(1, width - next));
    widths[widest] = width - less;
    over -= less;
  }
}

/** Without a width nothing is cut. */
export function renderRows(answer: SqlAnswer, width?: number): string {
  const { columns, row_count, truncated } = answer;
  const count = `${row_count} ${row_count === 1 ? 'row' : 'rows'}${truncated ? ', and there are more' : ''}`;
  if (columns.length === 0) return count;
  const heads = columns.map(({ name }) => printable(name));
  const rows = answer.rows.map((row) => row.map(cellText));
  const widths = heads.map((head, at) => rows.reduce((most, row) => Math.max(most, cellsOf(row[at] ?? '')), Math.max(1, cellsOf(head))));
  if (width !== undefined) shrink(widths, width - columns.length * 3 - 1);
  const line = (left: string, middle: string, right: string): string => `${left}${widths.map((cells) => '─'.repeat(cells + 2)).join(middle)}${right}`;
  const cells = (texts: readonly string[], is_head: boolean): string =>
    `│${texts.map((text, at) => ` ${fit(text, widths[at] as number, !is_head && NUMBER.test(columns[at]?.type ?? '') ? 'right' : 'left')} `).join('│')}│`;
  return [line('┌', '┬', '┐'), cells(heads, true), line('├', '┼', '┤'), ...rows.map((row) => cells(row, false)), line('└', '┴', '┘'), count].join('\n');
}
