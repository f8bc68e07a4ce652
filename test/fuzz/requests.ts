// Requests of one operation: as documented, and with one thing about them wrong.
import fc from 'fast-check';
import type { Operation, Parameter, Schema } from './document.ts';
import type { RawRequest } from './raw-client.ts';
import { allowedBy, hostileJson, hostileText } from './values.ts';

/** Values of what the warehouse holds, by the name of a parameter or field: at least these must be right to come far. */
export type Known = Readonly<Record<string, readonly string[]>>;

interface Plan {
  readonly path: Readonly<Record<string, string>>;
  readonly query: readonly (readonly [name: string, value: string])[];
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly content_type: string | undefined;
  readonly body: Buffer;
  readonly missing_bytes: number;
}

const HOST = ['host', '127.0.0.1'] as const;
const BAD_ENCODINGS = ['%', '%zz', '%ff', '%c3%28', '%ed%a0%80', '%00', '%2e%2e%2f', 'a%', '%u0041', '\xff\xfe', '+%20+'];

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function encode(value: string): string {
  return encodeURIComponent(value.toWellFormed());
}

function valueOf({ name, schema }: Pick<Parameter, 'name' | 'schema'>, known: Known): fc.Arbitrary<string> {
  const values = known[name];
  const allowed = allowedBy(schema).map(text);
  return values === undefined ? allowed : fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...values) }, { weight: 1, arbitrary: allowed });
}

/** Fields that would let the test write where it should not are always among the known ones. */
function bodyOf(schema: Schema, known: Known, only_known: ReadonlySet<string>): fc.Arbitrary<Record<string, unknown>> {
  const fields = Object.entries(schema.properties ?? {}).map(([name, field]): [string, fc.Arbitrary<unknown>] => [name, only_known.has(name) ? fc.constantFrom(...(known[name] ?? [''])) : known[name] === undefined ? allowedBy(field) : valueOf({ name, schema: field }, known)]);
  return fc.record(Object.fromEntries(fields), { requiredKeys: [...(schema.required ?? [])] }).map((value) => ({ ...value }));
}

function planOf({ parameters, body }: Operation, known: Known, only_known: ReadonlySet<string>): fc.Arbitrary<Plan> {
  const of = (place: string): readonly Parameter[] => parameters.filter((parameter) => parameter.in === place);
  const path = fc.record(Object.fromEntries(of('path').map((parameter) => [parameter.name, valueOf(parameter, known).map(encode)])));
  const queried = of('query');
  const query = fc.record(Object.fromEntries(queried.map((parameter) => [parameter.name, valueOf(parameter, known).map(encode)])), { requiredKeys: queried.filter(({ required }) => required === true).map(({ name }) => name) });
  const content = body?.content_type === 'application/json' ? bodyOf(body.schema, known, only_known).map((value) => Buffer.from(JSON.stringify(value))) : fc.constant(Buffer.alloc(0));
  return fc.record({ path, query, content }).map((plan) => ({ path: plan.path as Record<string, string>, query: Object.entries(plan.query as Record<string, string>), headers: [], content_type: body?.content_type, body: plan.content, missing_bytes: 0 }));
}

type Damage = (plan: Plan) => Plan;

function withField(body: Buffer, name: string, json: string): Buffer {
  const { [name]: _replaced, ...rest } = JSON.parse(body.toString() || '{}') as Record<string, unknown>;
  const others = JSON.stringify(rest).slice(1, -1);
  return Buffer.from(`{${JSON.stringify(name)}:${json}${others === '' ? '' : `,${others}`}}`);
}

function damagesOf({ parameters, body }: Operation, only_known: ReadonlySet<string>): fc.Arbitrary<Damage>[] {
  const odd = fc.oneof({ weight: 3, arbitrary: hostileText.map(encode) }, { weight: 1, arbitrary: fc.constantFrom(...BAD_ENCODINGS) });
  const query_names = [...parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name), 'surely_unknown', '__proto__'];
  const all: fc.Arbitrary<Damage>[] = [
    fc.tuple(fc.constantFrom(...query_names), odd).map(([name, value]) => (plan) => ({ ...plan, query: [...plan.query.filter(([other]) => other !== name), [name, value]] })),
    fc.tuple(fc.constantFrom(...query_names), odd, odd).map(([name, one, other]) => (plan) => ({ ...plan, query: [...plan.query, [name, one], [name, other]] })),
    fc.tuple(fc.integer({ min: 1, max: 3000 }), fc.constantFrom(10, 1000, 20_000)).map(([count, length]) => (plan) => ({ ...plan, headers: Array.from({ length: length > 10 ? 2 : count }, (_, at) => [`x-${at}`, 'y'.repeat(length)] as const) })),
    fc.tuple(fc.constantFrom('accept', 'content-encoding', 'x-request-id', 'range', 'if-none-match', 'accept-encoding', 'authorization', 'cookie', 'origin', 'host', 'expect', 'transfer-encoding', 'upgrade'), fc.constantFrom('', 'gzip', 'chunked', 'text/html', '*/*;q=', '\xff\xff', 'bytes=9-1', '100-continue', 'x'.repeat(9000), 'Bearer x', 'http://evil.example')).map((header) => (plan) => ({ ...plan, headers: [...plan.headers, header] })),
  ];
  const path_names = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
  if (path_names.length > 0) all.push(fc.tuple(fc.constantFrom(...path_names), odd).map(([name, value]) => (plan) => ({ ...plan, path: { ...plan.path, [name]: value } })));
  if (body === undefined) return all;
  all.push(
    fc.constantFrom('', 'text/plain', 'application/json; charset=utf-7', 'application/xml', 'multipart/form-data', '/', 'x'.repeat(300), '\xff').map((content_type) => (plan) => ({ ...plan, content_type })),
    fc.integer({ min: 1, max: 5000 }).map((missing_bytes) => (plan) => ({ ...plan, missing_bytes })),
    fc.double({ min: 0, max: 1, noNaN: true }).map((share) => (plan) => ({ ...plan, body: plan.body.subarray(0, Math.floor(plan.body.length * share)) })),
  );
  if (body.content_type !== 'application/json') return all;
  const names = [...Object.keys(body.schema.properties ?? {}).filter((name) => !only_known.has(name)), 'surely_unknown', '__proto__', 'constructor'];
  const set = fc.tuple(fc.constantFrom(...names), hostileJson).map(([name, json]): Damage => (plan) => ({ ...plan, body: withField(plan.body, name, json) }));
  all.push(set, set, set, hostileJson.map((json) => (plan) => ({ ...plan, body: Buffer.from(json) })), fc.constantFrom('ff', 'c328', 'eda080', 'efbbbf').map((hex) => (plan) => ({ ...plan, body: Buffer.concat([plan.body.subarray(0, -3), Buffer.from(hex, 'hex'), plan.body.subarray(-3)]) })));
  return all;
}

function render({ method, path }: Operation, plan: Plan): RawRequest {
  const target = path.replaceAll(/\{([^}]+)\}/g, (_whole, name: string) => plan.path[name] ?? '') + (plan.query.length === 0 ? '' : `?${plan.query.map(([name, value]) => `${name}=${value}`).join('&')}`);
  const headers = [...(plan.headers.some(([name]) => name === 'host') ? [] : [HOST]), ...plan.headers, ...(plan.content_type === undefined ? [] : [['content-type', plan.content_type] as const])];
  return { method, target, headers, body: plan.body, content_length: plan.missing_bytes === 0 ? undefined : plan.body.length + plan.missing_bytes };
}

export function requestsOf(operation: Operation, known: Known, only_known: ReadonlySet<string>): fc.Arbitrary<RawRequest> {
  const damage = fc.oneof({ weight: 1, arbitrary: fc.constant<Damage>((plan) => plan) }, ...damagesOf(operation, only_known).map((arbitrary) => ({ weight: 1, arbitrary })));
  return fc.tuple(planOf(operation, known, only_known), damage).map(([plan, change]) => render(operation, change(plan)));
}
