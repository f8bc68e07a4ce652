// The queries that ship: one file each in queries/cookbook/, which says on top what it asks, assumes and can get wrong.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../schema/package-root.ts';
import { queryId } from './query-id.ts';

export interface QueryParameter {
  readonly name: string;
  readonly type: string;
  /** In words; what it is when it is not given, or null. */
  readonly fallback: string;
  readonly doc: string;
}

export interface CookbookQuery {
  readonly id: string;
  /** Of its file. */
  readonly name: string;
  readonly question: string;
  readonly assumes: string;
  readonly can_get_wrong: string;
  readonly parameters: readonly QueryParameter[];
  /** The whole file. */
  readonly sql: string;
}

const PARAMETER = /^\$(\w+) ([A-Z]+) = ([^:]+): (.+)$/;

/** 'Question: ...' and the lines that go on with it, as one text a section. */
function readSections(head: readonly string[]): Map<string, string[]> {
  const sections = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of head) {
    const started = /^-- ([A-Z][a-z ]+):\s*(.*)$/.exec(line);
    if (started === null) lines.push(line.replace(/^--\s*/, ''));
    else sections.set(started[1] as string, (lines = started[2] === '' ? [] : [started[2] as string]));
  }
  return sections;
}

export function readCookbookQuery(name: string, sql: string): CookbookQuery {
  const lines = sql.split('\n');
  const sections = readSections(lines.slice(0, lines.findIndex((line) => !line.startsWith('--'))));
  const section = (title: string): string => {
    const text = sections.get(title)?.join(' ');
    if (text === undefined || text === '') throw new Error(`queries/cookbook/${name}.sql has no ${title}`);
    return text;
  };
  const parameters = (sections.get('Parameters') ?? []).map((line) => {
    const [, parameter, type, fallback, doc] = PARAMETER.exec(line) ?? [];
    if (parameter === undefined || type === undefined || fallback === undefined || doc === undefined) throw new Error(`queries/cookbook/${name}.sql: '${line}' describes no parameter`);
    return { name: parameter, type, fallback, doc };
  });
  return { id: queryId(sql, null), name, question: section('Question'), assumes: section('Assumes'), can_get_wrong: section('Can get wrong'), parameters, sql };
}

let read: readonly CookbookQuery[] | undefined;

/** By name. */
export function cookbookQueries(): readonly CookbookQuery[] {
  const folder = join(packageRoot(), 'queries', 'cookbook');
  read ??= readdirSync(folder)
    .filter((file) => file.endsWith('.sql'))
    .toSorted()
    .map((file) => readCookbookQuery(file.slice(0, -'.sql'.length), readFileSync(join(folder, file), 'utf8').trimEnd()));
  return read;
}
