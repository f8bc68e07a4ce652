// Lists of traces as Jaeger UI shows them since 2.19.
import { Type } from 'typebox';
import type { ServiceOfTrace } from '../lookups/trace-summaries.ts';

const Count = Type.Integer();
const Nanoseconds = Type.String({ pattern: '^\\d+$' });

export const Summaries = Type.Object({
  summaries: Type.Array(Type.Object({
    traceId: Type.String(), rootServiceName: Type.String(), rootOperationName: Type.String(), minStartTimeUnixNano: Nanoseconds, maxEndTimeUnixNano: Nanoseconds,
    spanCount: Count, errorSpanCount: Count, orphanSpanCount: Count, services: Type.Array(Type.Object({ name: Type.String(), spanCount: Count, errorSpanCount: Count })),
  })),
});

const unknown = (service: string | null): string => service ?? 'unknown_service';
const sum = (numbers: readonly bigint[]): number => Number(numbers.reduce((total, number) => total + number, 0n));
const least = (numbers: readonly bigint[]): bigint => numbers.reduce((found, number) => (number < found ? number : found));
const most = (numbers: readonly bigint[]): bigint => numbers.reduce((found, number) => (number > found ? number : found));

function summary(traceId: string, services: readonly ServiceOfTrace[]) {
  const root = services.filter(({ root_start_ns }) => root_start_ns !== null).toSorted((a, b) => Number((a.root_start_ns as bigint) - (b.root_start_ns as bigint)))[0];
  return {
    traceId,
    rootServiceName: root === undefined ? '' : unknown(root.service_name),
    rootOperationName: root?.root_name ?? '',
    minStartTimeUnixNano: String(least(services.map(({ start_ns }) => start_ns))),
    maxEndTimeUnixNano: String(most(services.map(({ end_ns }) => end_ns))),
    spanCount: sum(services.map(({ spans }) => spans)),
    errorSpanCount: sum(services.map(({ errors }) => errors)),
    orphanSpanCount: sum(services.map(({ orphans }) => orphans)),
    services: services.map(({ service_name, spans, errors }) => ({ name: unknown(service_name), spanCount: Number(spans), errorSpanCount: Number(errors) })),
  };
}

export function traceSummaries(rows: readonly ServiceOfTrace[]) {
  const traces = new Map<string, ServiceOfTrace[]>();
  for (const row of rows) traces.set(row.trace_id, [...(traces.get(row.trace_id) ?? []), row]);
  return { summaries: [...traces].map(([trace_id, services]) => summary(trace_id, services)) };
}
