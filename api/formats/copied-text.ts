// How DuckDB itself writes the rows of an answer in each of the text formats: the same text as sql-text.ts, which is for the types
// that are missing here.
import { DuckDBArrayType, DuckDBListType, DuckDBStructType, DuckDBTypeId } from '@duckdb/node-api';
import type { DuckDBType } from '@duckdb/node-api';
import { sqlText } from '../../ingest/duckdb-instance.ts';
import type { CopiedText } from '../../queries/sql-copy.ts';

type Field = (name: string) => string;

const asIs: Field = (name) => name;
const asText: Field = (name) => `${name}::VARCHAR`;
/** Of four bytes, as JavaScript and JSON know it. */
const asDouble: Field = (name) => `${name}::DOUBLE`;
/** JSON has no word for what is no number; DuckDB writes it nevertheless. */
const asNumber: Field = (name) => `CASE WHEN isfinite(${name}) THEN to_json(${name}::DOUBLE) WHEN isnan(${name}) THEN to_json('NaN') WHEN ${name} > 0 THEN to_json('Infinity') WHEN ${name} < 0 THEN to_json('-Infinity') END`;

type Fields = Partial<Record<DuckDBTypeId, Field>>;

const CSV_FIELDS: Fields = {
  [DuckDBTypeId.BOOLEAN]: asIs, [DuckDBTypeId.TINYINT]: asIs, [DuckDBTypeId.SMALLINT]: asIs, [DuckDBTypeId.INTEGER]: asIs, [DuckDBTypeId.BIGINT]: asIs,
  [DuckDBTypeId.UTINYINT]: asIs, [DuckDBTypeId.USMALLINT]: asIs, [DuckDBTypeId.UINTEGER]: asIs, [DuckDBTypeId.UBIGINT]: asIs, [DuckDBTypeId.HUGEINT]: asIs, [DuckDBTypeId.UHUGEINT]: asIs,
  [DuckDBTypeId.FLOAT]: asDouble, [DuckDBTypeId.DOUBLE]: asIs, [DuckDBTypeId.DECIMAL]: asIs, [DuckDBTypeId.VARCHAR]: asIs, [DuckDBTypeId.ENUM]: asIs, [DuckDBTypeId.UUID]: asIs, [DuckDBTypeId.BLOB]: asIs,
  [DuckDBTypeId.DATE]: asIs, [DuckDBTypeId.TIME]: asIs, [DuckDBTypeId.INTERVAL]: asIs,
  [DuckDBTypeId.TIMESTAMP]: asIs, [DuckDBTypeId.TIMESTAMP_TZ]: asIs, [DuckDBTypeId.TIMESTAMP_S]: asIs, [DuckDBTypeId.TIMESTAMP_MS]: asIs, [DuckDBTypeId.TIMESTAMP_NS]: asIs,
  [DuckDBTypeId.SQLNULL]: asIs,
};

/** Short integers and truth are JSON's own; longer ones and all else are texts. */
const JSON_FIELDS: Fields = {
  [DuckDBTypeId.BOOLEAN]: asIs, [DuckDBTypeId.TINYINT]: asIs, [DuckDBTypeId.SMALLINT]: asIs, [DuckDBTypeId.INTEGER]: asIs, [DuckDBTypeId.UTINYINT]: asIs, [DuckDBTypeId.USMALLINT]: asIs, [DuckDBTypeId.UINTEGER]: asIs,
  [DuckDBTypeId.BIGINT]: asText, [DuckDBTypeId.UBIGINT]: asText, [DuckDBTypeId.HUGEINT]: asText, [DuckDBTypeId.UHUGEINT]: asText, [DuckDBTypeId.DECIMAL]: asText,
  [DuckDBTypeId.FLOAT]: asNumber, [DuckDBTypeId.DOUBLE]: asNumber, [DuckDBTypeId.VARCHAR]: asText, [DuckDBTypeId.ENUM]: asText, [DuckDBTypeId.UUID]: asText,
  [DuckDBTypeId.DATE]: asText, [DuckDBTypeId.TIME]: asText, [DuckDBTypeId.INTERVAL]: asText,
  [DuckDBTypeId.TIMESTAMP]: asText, [DuckDBTypeId.TIMESTAMP_TZ]: asText, [DuckDBTypeId.TIMESTAMP_S]: asText, [DuckDBTypeId.TIMESTAMP_MS]: asText, [DuckDBTypeId.TIMESTAMP_NS]: asText,
  [DuckDBTypeId.SQLNULL]: asIs,
};

/** DuckDB writes these as JSON by itself, whatever they are in. */
const PLAIN_JSON = new Set([DuckDBTypeId.BOOLEAN, DuckDBTypeId.TINYINT, DuckDBTypeId.SMALLINT, DuckDBTypeId.INTEGER, DuckDBTypeId.UTINYINT, DuckDBTypeId.USMALLINT, DuckDBTypeId.UINTEGER, DuckDBTypeId.VARCHAR]);

function isPlainJson(type: DuckDBType): boolean {
  if (type instanceof DuckDBListType || type instanceof DuckDBArrayType) return isPlainJson(type.valueType);
  if (type instanceof DuckDBStructType) return type.entryTypes.every(isPlainJson);
  return PLAIN_JSON.has(type.typeId) && type.alias === undefined;
}

/** All of them, or none: a row is written by one hand. */
function fieldsOf(fields: (type: DuckDBType) => Field | undefined, names: readonly string[], types: readonly DuckDBType[]): string[] | null {
  const list = types.map((type, at) => fields(type)?.(names[at] as string));
  return list.every((field): field is string => field !== undefined) ? list : null;
}

const csvField = (type: DuckDBType): Field | undefined => CSV_FIELDS[type.typeId];
const jsonField = (type: DuckDBType): Field | undefined => JSON_FIELDS[type.typeId] ?? (isPlainJson(type) ? asIs : undefined);

/** One text a row, as it is. */
const AS_IT_IS = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER ''";

export const COPIED_TEXT = {
  csv: { fields: (names, types) => fieldsOf(csvField, names, types), options: "FORMAT csv, HEADER false, NEW_LINE E'\\r\\n'", has_quotes: true },
  json: {
    fields: (names, types) => {
      const list = fieldsOf(jsonField, names, types);
      return list && [`json_array(${list.join(', ')})`];
    },
    options: `${AS_IT_IS}, NEW_LINE E',\\n'`,
    has_quotes: false,
  },
  ndjson: {
    fields: (names, types, columns) => {
      const list = fieldsOf(jsonField, names, types);
      return list && [`json_object(${list.map((field, at) => `${sqlText(columns[at] as string)}, ${field}`).join(', ')})`];
    },
    options: `${AS_IT_IS}, NEW_LINE E'\\n'`,
    has_quotes: false,
  },
} as const satisfies Record<string, CopiedText>;
