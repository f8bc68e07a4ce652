// Paths without what varies in them, as macros of a DuckDB connection.

const HEX = '[0-9a-fA-F-]';
const HEX_LETTER = '[a-fA-F-]';
/** At least eight of HEX, a digit among them: by where the first digit is. */
const HEX_ID = [...Array.from({ length: 7 }, (_, at) => `${HEX_LETTER}{${at}}[0-9]${HEX}{${7 - at},}`), `${HEX_LETTER}{7,}[0-9]${HEX}*`].join('|');

/** Numbers, with or without something between that is no point: versions have points. */
const NUMBERS = '[0-9]+(?:[-_:][0-9]+)*';

/**
 * Path segments that are numbers ('7', '26-3208'), UUIDs, hex or look random become {id}: '/cart/42' -> '/cart/{id}'. 'v1' and 'oauth2' stay.
 *     SELECT url_template(path, quick) FROM (SELECT path, quick_template(path) AS quick FROM ...)
 * quick_template is right for most paths; url_template takes the others apart, which takes three times as long. Two macros, as what a CASE names twice is computed twice.
 */
export const URL_TEMPLATE_MACROS = `
  CREATE OR REPLACE TEMP MACRO templated_segments(path) AS array_to_string(list_transform(string_split(path, '/'), lambda s: CASE
    WHEN NOT regexp_matches(s, '[0-9]') THEN s
    WHEN regexp_full_match(s, '${NUMBERS}|[0-9a-fA-F-]{8,}|[A-Za-z]+[-_:.][0-9]+') THEN '{id}'
    WHEN length(s) >= 12 AND regexp_matches(s, '[0-9][^0-9]*[0-9][^0-9]*[0-9]') THEN '{id}'
    ELSE s END), '/');
  -- without a group for what follows the id, which would make the search three times as long
  CREATE OR REPLACE TEMP MACRO quick_template(path) AS regexp_replace(path, '/(?:${HEX_ID}|${NUMBERS}|[A-Za-z]+[-_:.][0-9]+)', '/{id}', 'g');
  -- an id that goes on, a segment before the first slash, and one of many digits
  CREATE OR REPLACE TEMP MACRO url_template(path, quick) AS CASE WHEN regexp_matches(quick, '[{]id[}][^/]|^[^/]|[0-9][^/0-9]*[0-9][^/0-9]*[0-9]') THEN templated_segments(path) ELSE quick END`;
