// Text in the cells of a terminal. What comes from the network must not steer the terminal, and some characters take
// two cells.
import stringWidth from 'string-width';

/** Control characters become visible ones; line breaks do not break the layout. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what must not get through
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    if (character === '\r') return '\\r';
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Exactly `width` cells: padded, or cut with an ellipsis. */
export function fit(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  let shown = text;
  let cells = stringWidth(shown);
  if (cells > width) {
    shown = '';
    cells = 0;
    for (const { segment } of segmenter.segment(text)) {
      const more = stringWidth(segment);
      if (cells + more > width - 1) break;
      shown += segment;
      cells += more;
    }
    if (width > 0) {
      shown += '…';
      cells += 1;
    }
  }
  const padding = ' '.repeat(Math.max(0, width - cells));
  return align === 'left' ? shown + padding : padding + shown;
}

export const cellsOf = (text: string): number => stringWidth(text);

export type Paint = (style: keyof typeof STYLES, text: string) => string;

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, blue: 34, magenta: 35, cyan: 36 } as const;

/** Colours where somebody looks at them and has not said no. */
export function colorsWanted(out: { readonly isTTY?: boolean } = process.stdout, env: NodeJS.ProcessEnv = process.env): boolean {
  return out.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb';
}

export function painter(colors: boolean): Paint {
  return colors ? (style, text) => `\u001b[${STYLES[style]}m${text}\u001b[0m` : (_style, text) => text;
}

/** 12.3 ms, 1.20 s, 850 µs */
export function shortDuration(ns: bigint): string {
  const value = Number(ns);
  const digits = (amount: number): string => (amount >= 100 ? amount.toFixed(0) : amount >= 10 ? amount.toFixed(1) : amount.toFixed(2));
  if (value < 1e3) return `${value} ns`;
  if (value < 999.5e3) return `${digits(value / 1e3)} µs`;
  if (value < 999.5e6) return `${digits(value / 1e6)} ms`;
  if (value < 119.5e9) return `${digits(value / 1e9)} s`;
  return value < 7200e9 ? `${(value / 60e9).toFixed(1)} min` : `${(value / 3600e9).toFixed(1)} h`;
}
