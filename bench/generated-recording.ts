// The default mix as other benchmarks take it: files that are made once a run, or batches without a file.
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRecordingWriter } from '../ingest/recording.ts';
import { generate } from './generate/generate.ts';
import type { Generated } from './generate/generate.ts';
import type { TruthSink } from './generate/truth.ts';

const SEED = 20;

export interface GeneratedRecording extends Generated {
  readonly file: string;
}

let folder: string | undefined;
const made = new Map<number, Promise<GeneratedRecording>>();

async function record(file: string, events: number): Promise<GeneratedRecording> {
  const writer = await openRecordingWriter(file);
  const batches = generatedBatches(events);
  let next = batches.next();
  for (; next.done !== true; next = batches.next()) await writer.write(next.value);
  await writer.close();
  return { ...next.value, file };
}

/** Some 430 bytes an event: for up to a few tens of millions. The file goes when the process ends. */
export function generatedRecording(events: number): Promise<GeneratedRecording> {
  if (folder === undefined) {
    const made_folder = mkdtempSync(join(tmpdir(), 'tracehouse-generated-'));
    folder = made_folder;
    process.once('exit', () => rmSync(made_folder, { recursive: true, force: true }));
  }
  let recording = made.get(events);
  if (recording === undefined) made.set(events, (recording = record(join(folder, `${events}.arrow`), events)));
  return recording;
}

/** What the loader of one machine would have written that runs all of it. */
export function writeGeneratedFrames(path: string, events: number): Generated {
  const file = openSync(path, 'w');
  try {
    const batches = generate({ events, seed: SEED, nodes: 1, on_frames: (bytes) => writeSync(file, bytes) });
    let next = batches.next();
    while (next.done !== true) next = batches.next();
    return next.value;
  } finally {
    closeSync(file);
  }
}

/** The same rows, one batch after the other. */
export const generatedBatches = (events: number, truth?: TruthSink): ReturnType<typeof generate> => generate({ events, seed: SEED, ...(truth === undefined ? {} : { truth }) });
