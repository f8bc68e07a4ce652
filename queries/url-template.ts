/**
 * Path segments that are numbers, UUIDs, hex or look random become {id}: '/cart/42' -> '/cart/{id}'. 'v1' and 'oauth2' stay.
 * Most paths have no digit, or none but in numbers: only the others are taken apart.
 */
export const URL_TEMPLATE_MACRO = `
  CREATE OR REPLACE TEMP MACRO templated_segments(path) AS array_to_string(list_transform(string_split(path, '/'), lambda s: CASE
    WHEN NOT regexp_matches(s, '[0-9]') THEN s
    WHEN regexp_full_match(s, '[0-9]+|[0-9a-fA-F-]{8,}|[A-Za-z]+[-_:.][0-9]+') THEN '{id}'
    WHEN length(s) >= 12 AND regexp_matches(s, '[0-9][^0-9]*[0-9][^0-9]*[0-9]') THEN '{id}'
    ELSE s END), '/');
  CREATE OR REPLACE TEMP MACRO url_template(path) AS CASE
    WHEN NOT regexp_matches(path, '[0-9]') THEN path
    -- a list of one: what a CASE names twice is computed twice
    ELSE list_transform([regexp_replace(path, '/[0-9]+(/|$)', '/{id}\\1', 'g')], lambda r: CASE WHEN regexp_matches(r, '[0-9]') THEN templated_segments(path) ELSE r END)[1] END`;
