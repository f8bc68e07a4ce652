import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { OutputReader, PIECE_BYTES } from '../ingest/output-reader.ts';

const BYTES = 64 * PIECE_BYTES;

/** A program that writes all of it as fast as it is taken. */
async function talkingTo(on_chunk: (chunk: Uint8Array, output: OutputReader) => void): Promise<OutputReader> {
  const output: OutputReader = await OutputReader.open((chunk) => on_chunk(chunk, output));
  const child = spawn('head', ['-c', String(BYTES), '/dev/zero'], { stdio: ['ignore', output.theirs, 'inherit'] });
  output.theirs.destroy();
  await once(child, 'spawn');
  return output;
}

test('others have their turn between any two pieces, and nothing is left out', async () => {
  let [turns, bytes, at_once] = [0, 0, 0];
  let last_turn = -1;
  let counting = true;
  const count = (): void => {
    turns += 1;
    if (counting) setImmediate(count);
  };
  const output = await talkingTo((chunk) => {
    if (turns === last_turn) at_once += 1;
    last_turn = turns;
    bytes += chunk.length;
  });
  setImmediate(count);
  await output.ended;
  counting = false;
  expect(bytes).toBe(BYTES);
  expect(at_once).toBe(0);
});

test('paused, it takes nothing, not even what it was about to; resumed, all the rest', async () => {
  let bytes = 0;
  let paused_at = -1;
  let is_paused: () => void = () => undefined;
  const paused = new Promise<void>((resolve) => (is_paused = resolve));
  const output = await talkingTo((chunk, reader) => {
    bytes += chunk.length;
    if (paused_at >= 0 || bytes < 3 * PIECE_BYTES) return;
    paused_at = bytes;
    reader.pause();
    is_paused();
  });
  await paused;
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(bytes).toBe(paused_at);
  output.resume();
  await output.ended;
  expect(bytes).toBe(BYTES);
});
