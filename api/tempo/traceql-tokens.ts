import { ClientError } from '../client-error.ts';

export type TokenKind = 'field' | 'text' | 'number' | 'duration' | 'symbol';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  readonly at: number;
}

const PATTERNS: readonly (readonly [TokenKind | 'space', RegExp])[] = [
  ['space', /\s+/y],
  ['text', /"(?:[^"\\]|\\.)*"|`[^`]*`/ys],
  ['duration', /-?\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h)(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))*(?![\w.])/y],
  ['number', /-?\d+(?:\.\d+)?(?![\w.])/y],
  // Parts of an attribute's name may be quoted: span."a b".c
  ['field', /(?:[A-Za-z_]+:[A-Za-z]+|(?:[A-Za-z_][\w-]*)?(?:\.(?:"(?:[^"\\]|\\.)*"|[\w/-]+))+|[A-Za-z_]\w*)/y],
  ['symbol', /&&|\|\||!~|=~|!=|>=|<=|>>|<<|[{}()=<>!|~&+*/^,-]/y],
];

/** Error: 400, and where. */
export function tokensOf(query: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < query.length) {
    const found = PATTERNS.flatMap(([kind, pattern]) => {
      pattern.lastIndex = at;
      const text = pattern.exec(query)?.[0];
      return text === undefined ? [] : [{ kind, text }];
    })[0];
    if (found === undefined) throw new ClientError(400, `invalid TraceQL query: parse error at line 1, col ${at + 1}: '${query.slice(at, at + 20)}' is not understood`);
    if (found.kind !== 'space') tokens.push({ kind: found.kind, text: found.text, at });
    at += found.text.length;
  }
  return tokens;
}

export const unquoted = (text: string): string => (text.startsWith('`') ? text.slice(1, -1) : text.slice(1, -1).replaceAll(/\\(.)/gs, (_, char: string) => ({ n: '\n', t: '\t', r: '\r' })[char] ?? char));
