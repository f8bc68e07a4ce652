// What a benchmark says: a value beside its reference from the same run, never a value alone where there is one to compare with.

export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

export interface Figure {
  /** Stable, snake_case. */
  readonly figure: string;
  /** Which case of it. */
  readonly variant: string;
  readonly unit: string;
  readonly value: Spread;
  readonly reference?: { readonly what: string; readonly value: Spread };
  /** Value / reference, round by round. */
  readonly ratio?: Spread;
  readonly rounds: number;
  readonly goal?: Goal;
  /** Null: there is no goal, or too much was lost to say. */
  readonly met: boolean | null;
  /** Of the events of a traced run. More than MOST_LOST is no result. */
  readonly lost_share?: number;
  readonly notes?: Readonly<Record<string, number | string>>;
}

export interface Goal {
  /** 'low': the lower end of the paired 90 % interval of the ratio. */
  readonly of: 'ratio' | 'value' | 'low';
  readonly at_least?: number;
  readonly at_most?: number;
}

export const MOST_LOST = 0.01;

/** Four significant digits. */
export const rounded = (value: number): number => (Number.isFinite(value) ? Number(value.toPrecision(4)) : value);

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1] ?? Number.NaN, sorted[sorted.length >> 1] ?? Number.NaN];
  return { median: rounded((low + high) / 2), least: rounded(sorted[0] ?? Number.NaN), most: rounded(sorted.at(-1) ?? Number.NaN) };
}

/** Student's t, two-sided 90 %, by degrees of freedom from 1 on. */
const T_90 = [6.314, 2.92, 2.353, 2.132, 2.015, 1.943, 1.895, 1.86, 1.833, 1.812];

/** 90 % interval of the mean of paired ratios. */
export function interval90(ratios: readonly number[]): readonly [low: number, high: number] {
  const n = ratios.length;
  const mean = ratios.reduce((sum, one) => sum + one, 0) / n;
  if (n < 2) return [mean, mean];
  const deviation = Math.sqrt(ratios.reduce((sum, one) => sum + (one - mean) ** 2, 0) / (n - 1));
  const half = ((T_90[n - 2] ?? 1.645) * deviation) / Math.sqrt(n);
  return [mean - half, mean + half];
}

export interface Measured {
  readonly figure: string;
  readonly variant: string;
  readonly unit: string;
  readonly values: readonly number[];
  readonly reference?: { readonly what: string; readonly values: readonly number[] };
  readonly goal?: Goal;
  readonly lost_share?: number;
  readonly notes?: Readonly<Record<string, number | string>>;
}

export function figure({ values, reference, goal, notes, lost_share, ...names }: Measured): Figure {
  const ratios = reference === undefined ? undefined : values.map((value, round) => value / (reference.values[round] as number));
  const interval = ratios !== undefined && ratios.length > 1 ? interval90(ratios) : undefined;
  const all_notes = { ...notes, ...(interval === undefined ? {} : { ratio_90_low: rounded(interval[0]), ratio_90_high: rounded(interval[1]) }) };
  const base = {
    ...names, rounds: values.length, value: spread(values),
    ...(reference === undefined ? {} : { reference: { what: reference.what, value: spread(reference.values) } }),
    ...(ratios === undefined ? {} : { ratio: spread(ratios) }),
    ...(goal === undefined ? {} : { goal }),
    ...(lost_share === undefined ? {} : { lost_share: rounded(lost_share) }),
    ...(Object.keys(all_notes).length === 0 ? {} : { notes: all_notes }),
  };
  const judged = goal?.of === 'low' ? interval?.[0] : goal?.of === 'ratio' ? base.ratio?.median : base.value.median;
  const valid = lost_share === undefined || lost_share <= MOST_LOST;
  const met = goal === undefined || judged === undefined || !valid ? null : judged >= (goal.at_least ?? -Infinity) && judged <= (goal.at_most ?? Infinity);
  return { ...base, met };
}

type Work = Readonly<Record<string, (round: number) => Promise<unknown>>>;

/** Runs each of them once a round, in an order that turns, so that no one is always first. */
export async function alternate<W extends Work>(rounds: number, work: W): Promise<{ [K in keyof W]: Awaited<ReturnType<W[K]>>[] }> {
  const names = Object.keys(work);
  const found = Object.fromEntries(names.map((name) => [name, [] as unknown[]]));
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < names.length; at++) {
      const name = names[(at + round) % names.length] as string;
      found[name]?.push(await work[name]?.(round));
    }
  }
  return found as { [K in keyof W]: Awaited<ReturnType<W[K]>>[] };
}
