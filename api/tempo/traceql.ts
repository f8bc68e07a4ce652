// The selectors of TraceQL that Grafana's search form makes: conditions on one span, with && || and brackets.
import { sql } from 'kysely';
import type { RawBuilder } from 'kysely';
import { ClientError } from '../client-error.ts';
import { tokensOf, unquoted } from './traceql-tokens.ts';
import type { Token } from './traceql-tokens.ts';
import { comparison } from './traceql-comparison.ts';
import type { SpanCondition } from './traceql-comparison.ts';

const OPERATORS = new Set(['=', '!=', '>', '>=', '<', '<=', '=~', '!~']);
const DEEPEST = 50;

export interface Selector {
  /** What a span has to meet; the range is the search's own. */
  readonly condition: SpanCondition;
  /** Regular expressions in it: not checked yet. */
  readonly patterns: readonly string[];
}

class Parser {
  readonly #tokens: readonly Token[];
  readonly #query: string;
  readonly patterns: string[] = [];
  #next = 0;
  #depth = 0;

  constructor(query: string) {
    this.#query = query;
    this.#tokens = tokensOf(query);
  }

  #peek(): string | undefined {
    return this.#tokens[this.#next]?.text;
  }

  #take(text: string): boolean {
    if (this.#peek() !== text || this.#tokens[this.#next]?.kind === 'text') return false;
    this.#next += 1;
    return true;
  }

  #refuse(what: string): never {
    const at = this.#tokens[this.#next]?.at ?? this.#query.length;
    throw new ClientError(400, `invalid TraceQL query: at col ${at + 1}: ${what}`);
  }

  #unsupported(): never {
    const rest = this.#query.slice(this.#tokens[this.#next]?.at ?? 0).trim();
    throw new ClientError(400, `this part of the TraceQL query is not supported here: '${rest.slice(0, 80)}'; one selector is, such as { resource.service.name = "shop" && duration > 10ms }`);
  }

  selector(): SpanCondition {
    if (!this.#take('{')) this.#unsupported();
    const condition: SpanCondition = this.#peek() === '}' ? () => sql<boolean>`TRUE` : this.#any();
    if (!this.#take('}')) this.#refuse("'&&', '||' or '}' is expected");
    // Which attributes are shown is no matter of which traces match.
    if (this.#peek() === '|' && this.#tokens[this.#next + 1]?.text === 'select') return condition;
    if (this.#next < this.#tokens.length) this.#unsupported();
    return condition;
  }

  #any(): SpanCondition {
    const parts = [this.#all()];
    while (this.#take('||')) parts.push(this.#all());
    return joined(parts, sql` OR `);
  }

  #all(): SpanCondition {
    const parts = [this.#one()];
    while (this.#take('&&')) parts.push(this.#one());
    return joined(parts, sql` AND `);
  }

  #one(): SpanCondition {
    if (++this.#depth > DEEPEST) this.#refuse('brackets too deep');
    const negated = this.#take('!');
    let condition: SpanCondition;
    if (this.#take('(')) {
      condition = this.#any();
      if (!this.#take(')')) this.#refuse("')' is expected");
    } else condition = negated ? this.#refuse("'(' is expected after '!'") : this.#comparison();
    this.#depth -= 1;
    return negated ? (range) => sql<boolean>`NOT coalesce(${condition(range)}, FALSE)` : condition;
  }

  #comparison(): SpanCondition {
    const field = this.#tokens[this.#next];
    if (field?.text === 'true' && ['}', '&&', '||', ')'].includes(this.#tokens[this.#next + 1]?.text ?? '')) {
      this.#next += 1;
      return () => sql<boolean>`TRUE`;
    }
    if (field?.kind !== 'field') return this.#refuse('a field is expected, such as name, duration or span.http.request.method');
    this.#next += 1;
    const operator = this.#peek();
    if (operator === undefined || !OPERATORS.has(operator)) return this.#refuse(`an operator is expected after ${field.text}`);
    this.#next += 1;
    const value = this.#tokens[this.#next];
    if (value === undefined || value.kind === 'symbol') return this.#refuse(`a value is expected after ${field.text} ${operator}`);
    if (value.kind === 'field' && (value.text.includes('.') || value.text.includes(':'))) return this.#unsupported();
    this.#next += 1;
    if (operator.endsWith('~')) this.patterns.push(value.kind === 'text' ? unquoted(value.text) : value.text);
    return comparison(field.text, operator, value);
  }
}

function joined(parts: readonly SpanCondition[], by: RawBuilder<unknown>): SpanCondition {
  const [first] = parts as [SpanCondition];
  return parts.length === 1 ? first : (range) => sql<boolean>`(${sql.join(parts.map((part) => part(range)), by)})`;
}

/** Error: 400, with the part that is not understood or not supported. */
export function parseSelector(query: string): Selector {
  const parser = new Parser(query);
  const condition = parser.selector();
  return { condition, patterns: parser.patterns };
}
