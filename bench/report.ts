// The figures of a run for people: a table, and plots of those that have a reference.
import { writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { compile } from 'vega-lite';
import type { TopLevelSpec } from 'vega-lite';
import { View, parse } from 'vega';
import { MOST_LOST } from './figure.ts';
import type { Figure, Goal, Spread } from './figure.ts';

const number = (value: number): string => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en') : String(value));
const range = ({ median, least, most }: Spread): string => (least === most ? number(median) : `${number(median)} (${number(least)} to ${number(most)})`);

const OF: Readonly<Record<Goal['of'], string>> = { ratio: 'ratio', value: 'value', low: 'lower end of the ratio' };

function goalText({ of, at_least, at_most }: Goal): string {
  return [`${OF[of]}`, ...(at_least === undefined ? [] : [`at least ${number(at_least)}`]), ...(at_most === undefined ? [] : [`at most ${number(at_most)}`])].join(' ');
}

function verdict({ goal, met, lost_share }: Figure): string {
  if (lost_share !== undefined && lost_share > MOST_LOST) return 'no result: too much was lost';
  return goal === undefined ? '' : `${met === true ? 'met' : met === false ? 'not met' : 'not known'}: ${goalText(goal)}`;
}

/** What the figures depend on. */
export function machine(): string {
  const [cpu] = cpus();
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, Node.js ${process.versions.node}`;
}

export function markdown(figures: readonly Figure[], title: string): string {
  const lines = figures.map((one) => {
    const notes = Object.entries(one.notes ?? {}).map(([name, value]) => `${name} ${typeof value === 'number' ? number(value) : value}`);
    const cells = [
      `\`${one.figure}\` ${one.variant}`,
      `${range(one.value)} ${one.unit}`,
      one.reference === undefined ? '' : `${range(one.reference.value)}: ${one.reference.what}`,
      one.ratio === undefined ? '' : range(one.ratio),
      one.lost_share === undefined ? '' : `${number(Number((one.lost_share * 100).toPrecision(3)))} %`,
      verdict(one),
      String(one.rounds),
      notes.join('; '),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    `# ${title}`, '', machine(), '',
    'Medians, with the range of all rounds. A ratio is value / reference of the same round.', '',
    '| figure | value | reference | ratio | lost | goal | rounds | besides |', '|---|---|---|---|---|---|---|---|', ...lines, '',
  ].join('\n');
}

interface Point extends Spread {
  readonly name: string;
  readonly met: string;
}

/** Ratios side by side, with their ranges, as SVG; null: none has a ratio. */
export async function ratioPlot(figures: readonly Figure[], title: string): Promise<string | null> {
  const values = figures.flatMap(({ figure, variant, ratio, met }): Point[] => (ratio === undefined ? [] : [{ name: `${figure}: ${variant}`, ...ratio, met: met === null ? 'no goal' : met ? 'goal met' : 'goal not met' }]));
  if (values.length === 0) return null;
  const y = { field: 'name', type: 'nominal', sort: null, title: null, axis: { labelLimit: 400 } } as const;
  const spec: TopLevelSpec = {
    title, width: 480, height: { step: 22 }, data: { values },
    layer: [
      { mark: { type: 'rule', strokeDash: [4, 4] }, data: { values: [{ one: 1 }] }, encoding: { x: { field: 'one', type: 'quantitative' } } },
      { mark: { type: 'rule', strokeWidth: 2 }, encoding: { y, x: { field: 'least', type: 'quantitative', title: 'value / reference of the same run' }, x2: { field: 'most' } } },
      { mark: { type: 'point', filled: true, size: 70, opacity: 1 }, encoding: { y, x: { field: 'median', type: 'quantitative' }, color: { field: 'met', type: 'nominal', title: null, scale: { domain: ['goal met', 'goal not met', 'no goal'], range: ['#2a7f3f', '#b3261e', '#555555'] } } } },
    ],
  };
  return new View(parse(compile(spec).spec), { renderer: 'none' }).toSVG();
}

/** PATH.md and PATH.svg. */
export async function writeReport(figures: readonly Figure[], path: string, title: string): Promise<void> {
  writeFileSync(`${path}.md`, markdown(figures, title));
  const plot = await ratioPlot(figures, title);
  if (plot !== null) writeFileSync(`${path}.svg`, plot);
}
