import { getTrace, listTraces } from '../api/cli/http-client.ts';
import { renderTraceTable } from '../api/cli/trace-table.ts';
import { renderWaterfall } from '../api/cli/waterfall.ts';
import { openSource, type SourceOptions } from './client.ts';

export interface TracesOptions extends SourceOptions {
  readonly service?: string;
  readonly operation?: string;
  readonly from?: bigint;
  readonly to?: bigint;
  readonly minDuration?: string;
  readonly maxDuration?: string;
  readonly error?: boolean;
  readonly sort?: string;
  readonly limit: number;
  readonly json?: boolean;
}

/** Columns of the terminal, 100 where there is none. */
export const width = (): number => Math.max(80, process.stdout.columns ?? 100);

/** `traces`: the list, newest first unless sorted otherwise. */
export async function traces(options: TracesOptions): Promise<void> {
  const source = await openSource(options);
  try {
    const page = await listTraces(source.address, {
      limit: options.limit,
      ...(options.service === undefined ? {} : { service: options.service }),
      ...(options.operation === undefined ? {} : { operation: options.operation }),
      ...(options.from === undefined ? {} : { start: options.from }),
      ...(options.to === undefined ? {} : { end: options.to }),
      ...(options.minDuration === undefined ? {} : { min_duration: options.minDuration }),
      ...(options.maxDuration === undefined ? {} : { max_duration: options.maxDuration }),
      ...(options.error === undefined ? {} : { error: options.error }),
      ...(options.sort === undefined ? {} : { sort: options.sort }),
    });
    console.log(options.json === true ? JSON.stringify(page, null, 2) : renderTraceTable(page.traces, width()));
    const { missing_files } = page.searched;
    if (missing_files > 0) console.error(`exported files of that time that are elsewhere and were not searched: ${missing_files}; \`tracehouse fetch\` brings them`);
  } finally {
    await source.close();
  }
}

/** `trace ID`: one trace as a waterfall. */
export async function trace(id: string, options: SourceOptions & { maxSpans: number; json?: boolean }): Promise<void> {
  const source = await openSource(options);
  try {
    const found = await getTrace(source.address, id, options.maxSpans);
    console.log(options.json === true ? JSON.stringify(found, null, 2) : renderWaterfall(found, width()));
  } finally {
    await source.close();
  }
}
