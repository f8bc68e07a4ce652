// Tempo's older search: tags in logfmt, each a part of an attribute's value in whatever case.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import { ClientError } from '../client-error.ts';
import { asText, spanField } from '../lookups/span-fields.ts';

/** a=b c="d e" f */
export function logfmt(text: string): [string, string][] {
  const pairs: [string, string][] = [];
  const pattern = /\s*([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*)))?(?=\s|$)\s*/y;
  for (let at = 0; at < text.length; at = pattern.lastIndex) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) {
      if (text.slice(at).trim() === '') break;
      throw new ClientError(400, `invalid tags: logfmt syntax error at pos ${at + 1}: '${text.slice(at, at + 20)}'`);
    }
    const [, key = '', quoted, plain] = match;
    pairs.push([key, quoted?.replaceAll(/\\(.)/g, '$1') ?? plain ?? 'true']);
  }
  return pairs;
}

const NAMED: Readonly<Record<string, string>> = { name: 'span_name', status: 'status', kind: 'kind' };

export function tagConditions(text: string): RawBuilder<boolean>[] {
  return logfmt(text).map(([key, part]) => {
    const value = Object.hasOwn(NAMED, key) ? sql.raw(NAMED[key] as string) : spanField(key)?.value;
    return value === undefined ? sql<boolean>`FALSE` : sql<boolean>`contains(lower(${asText(value)}), ${part.toLowerCase()})`;
  });
}
