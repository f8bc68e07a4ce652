// The formats of POST /api/v1/sql, and which of them a request asks for.
import type { SqlSource } from '../../ingest/sql-source.ts';
import type { CopiedRows, CopiedText } from '../../queries/sql-copy.ts';
import type { UserSqlStream } from '../../queries/sql-gate.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { COPIED_TEXT } from './copied-text.ts';
import { sqlArrow } from './sql-arrow.ts';
import { sqlParquet } from './sql-parquet.ts';
import { copiedCsv, copiedJson, copiedNdjson, sqlCsv, sqlJson, sqlNdjson } from './sql-text.ts';

export interface EncodeOptions {
  readonly source: SqlSource;
  readonly signal: AbortSignal;
  /** Whoever reads is done with a part before it asks for the one after the next, and takes parts in several pieces. */
  readonly brief: boolean;
}

/** Several pieces: one behind the other. */
export type SqlPart = string | Uint8Array | readonly Uint8Array[];

type Encode = (stream: UserSqlStream, options: EncodeOptions) => AsyncGenerator<SqlPart>;

export interface SqlFormat {
  readonly media_type: string;
  readonly content_type: string;
  readonly encode: Encode;
  /** The same where DuckDB writes the rows. */
  readonly copied?: { readonly text: CopiedText; encode(rows: CopiedRows, query_id: string): AsyncGenerator<string | Uint8Array> };
}

export const SQL_FORMATS = {
  json: { media_type: 'application/json', content_type: 'application/json; charset=utf-8', encode: sqlJson, copied: { text: COPIED_TEXT.json, encode: copiedJson } },
  ndjson: { media_type: 'application/x-ndjson', content_type: 'application/x-ndjson; charset=utf-8', encode: sqlNdjson, copied: { text: COPIED_TEXT.ndjson, encode: copiedNdjson } },
  csv: { media_type: 'text/csv', content_type: 'text/csv; charset=utf-8; header=present', encode: sqlCsv, copied: { text: COPIED_TEXT.csv, encode: copiedCsv } },
  arrow: { media_type: 'application/vnd.apache.arrow.stream', content_type: 'application/vnd.apache.arrow.stream', encode: sqlArrow },
  parquet: { media_type: 'application/vnd.apache.parquet', content_type: 'application/vnd.apache.parquet', encode: sqlParquet },
} as const satisfies Record<string, SqlFormat>;

export type SqlFormatName = keyof typeof SQL_FORMATS;
export const SQL_FORMAT_NAMES = Object.keys(SQL_FORMATS) as SqlFormatName[];

function weightOf(parameters: readonly string[]): number {
  const q = parameters.map((parameter) => /^\s*q=([\d.]+)\s*$/.exec(parameter)?.[1]).find((text) => text !== undefined);
  return q === undefined ? 1 : Number(q);
}

function matches(range: string, media_type: string): boolean {
  return range === '*/*' || range === media_type || (range.endsWith('/*') && media_type.startsWith(range.slice(0, -1)));
}

/** ?format= wins over Accept; neither: json. Error: not-acceptable. */
export function chooseFormat(format: SqlFormatName | undefined, accept: string | undefined): SqlFormatName {
  if (format !== undefined) return format;
  if (accept === undefined || accept.trim() === '') return 'json';
  const ranges = accept
    .split(',')
    .map((part) => {
      const [range = '', ...parameters] = part.split(';');
      return { range: range.trim().toLowerCase(), weight: weightOf(parameters) };
    })
    .filter(({ weight }) => weight > 0)
    .toSorted((a, b) => b.weight - a.weight);
  for (const { range } of ranges) {
    const name = SQL_FORMAT_NAMES.find((candidate) => matches(range, SQL_FORMATS[candidate].media_type));
    if (name !== undefined) return name;
  }
  throw new TracehouseError('not-acceptable', `none of ${accept} is a format of answers`, { mend: `ask for one of ${SQL_FORMAT_NAMES.map((name) => SQL_FORMATS[name].media_type).join(', ')}` });
}
