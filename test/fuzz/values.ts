// Values that a schema allows, and values that nobody expects.
import fc from 'fast-check';
import type { Schema } from './document.ts';

const nested = (depth: number, open: string, close: string): string => open.repeat(depth) + close.repeat(depth);

/** JSON texts: some parsers and walkers of values go as deep as they do. */
const DEEP = fc.constantFrom(nested(1000, '[', ']'), nested(100_000, '[', ']'), `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`, `[${nested(200_000, '[', ']')}]`);

export const LONG = fc.constantFrom('x'.repeat(250), 'x'.repeat(4000), '%00'.repeat(800), 'é'.repeat(2000), '('.repeat(4000));

const NUMBERS = fc.constantFrom('0', '-1', '1e308', '1e999', '-9223372036854775809', '9223372036854775807', '9223372036854775808', '18446744073709551616', '9'.repeat(200), '0x10', '1.5', '-0', 'NaN', 'Infinity', '１');

/** Of what text fields mean: times, ids, statements, names, patterns. */
const TEXTS = fc.constantFrom('', ' ', '\0', '\u202e', '\ud800', "'", '"; --', '../../../etc/passwd', '..%2f..', '[object Object]', '__proto__', 'constructor', 'null', 'true', '2026-13-45T99:99:99Z', '9999-12-31T23:59:59.999999999Z', '-15m', '99999999999999d', 'SELECT', "SELECT 'x", 'SELECT * FROM nowhere', 'SELECT 1; SELECT 2', 'SELECT error(\'x\')', 'SELECT 1/0, \'a\'::INT', '{"a":1', '[[1],[2]]', '{"and":[]}', '*', '%', '\r\nx: y', '🦆');

export const hostileText: fc.Arbitrary<string> = fc.oneof(TEXTS, NUMBERS, LONG, fc.string({ unit: 'binary', maxLength: 40 }));

/** JSON texts of the wrong type, size or depth. */
export const hostileJson: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: hostileText.map((text) => JSON.stringify(text)) },
  { weight: 3, arbitrary: fc.json() },
  { weight: 2, arbitrary: fc.constantFrom('null', 'true', '[]', '{}', '-1', '1e308', '1e999', '9223372036854775808', '1.5', '""', '{"__proto__":{"a":1}}', '[null]', '[[]]', '{"":""}') },
  { weight: 1, arbitrary: DEEP },
);

const given = (values: readonly unknown[]): fc.Arbitrary<unknown> => fc.constantFrom(...values);

/** Mostly what its examples show: what is merely allowed is seldom of use. */
export function allowedBy(schema: Schema): fc.Arbitrary<unknown> {
  const { examples = [] } = schema;
  const made = madeFor(schema);
  return examples.length === 0 ? made : fc.oneof(given(examples), made);
}

function madeFor(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return given(schema.enum);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(allowedBy));
  const type = Array.isArray(schema.type) ? (schema.type as readonly string[])[0] : schema.type;
  switch (type) {
    case 'integer':
      return fc.oneof(fc.integer({ min: schema.minimum ?? -1000, max: Math.min(schema.maximum ?? 1000, 2 ** 31 - 1) }), given([schema.minimum ?? 0, schema.maximum ?? 1]));
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(allowedBy(schema.items ?? {}), { maxLength: Math.min(schema.maxItems ?? 4, 4) });
    case 'object':
      return objectOf(schema);
    case 'string':
      return schema.pattern === undefined ? fc.string({ maxLength: 30 }) : fc.stringMatching(new RegExp(schema.pattern), { maxLength: 60 });
    default:
      return fc.oneof(fc.string({ maxLength: 10 }), fc.integer(), fc.boolean());
  }
}

function objectOf({ properties = {}, required = [] }: Schema): fc.Arbitrary<unknown> {
  const fields = Object.fromEntries(Object.entries(properties).map(([name, schema]) => [name, allowedBy(schema)]));
  return fc.record(fields, { requiredKeys: required.filter((name) => name in fields) }).map((value) => ({ ...value }));
}
