// The operations of an OpenAPI document, as far as requests are made from them.
export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly examples?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
}

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header' | 'cookie';
  readonly required?: boolean;
  readonly schema: Schema;
}

interface Described {
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}

export interface Document extends Record<string, unknown> {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
}

export interface Operation {
  readonly method: string;
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly body: { readonly content_type: string; readonly schema: Schema } | undefined;
  readonly statuses: ReadonlySet<number>;
  /** It speaks as another tool does, errors too. */
  readonly is_foreign: boolean;
}

const FOREIGN = new Set(['jaeger', 'tempo']);

export function operationsOf({ paths }: Document): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { tags = [], parameters = [], requestBody, responses }]) => {
      const [first] = Object.entries(requestBody?.content ?? {});
      const body = first === undefined ? undefined : { content_type: first[0], schema: first[1].schema ?? {} };
      return { method: method.toUpperCase(), path, parameters, body, statuses: new Set(Object.keys(responses).map(Number)), is_foreign: tags.some((tag) => FOREIGN.has(tag)) };
    }),
  );
}
