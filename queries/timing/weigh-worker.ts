// The work of a thread of ./weighing.ts: one service's calls, weighed.
import type { LearnedDelay } from './service-model.ts';
import { resolveService, type ResolveOptions } from './resolve-service.ts';
import type { ServiceProblem } from './resolve.ts';

export interface WeighTask extends Pick<ServiceProblem<bigint>, 'problem' | 'callee_names' | 'tick_ns'> {
  readonly options: Omit<ResolveOptions, 'random' | 'first'>;
  /** ms since 1970; Infinity: whenever. */
  readonly begin_before_ms: number;
}

export interface Weighed {
  /** As Resolution. */
  readonly probabilities: Float64Array;
  readonly delays: readonly LearnedDelay[];
}

/** Null: it came too late to begin. */
export default function weighService({ problem, callee_names, tick_ns, options, begin_before_ms }: WeighTask): Weighed | null {
  if (Date.now() >= begin_before_ms) return null;
  const { probabilities, model } = resolveService(problem, options);
  return { probabilities, delays: model.describe(callee_names, tick_ns) };
}
