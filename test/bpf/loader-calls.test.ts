// Every way to move bytes over a stream socket gives one event a call, with the right bytes at the right place.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { build } from './built.ts';
import { CALL_CHECKS, movedBy, readCalls, type Call } from './call-checks.ts';
import type { SocketEvent } from './frame-log.ts';
import { LoadProgram } from './load-program.ts';
import { LoaderRun } from './loader-run.ts';
import { makeNetwork, type Network } from './network.ts';

describe('socket calls', () => {
  let network: Network;
  let run: LoaderRun;
  let calls: Call[];
  let events: SocketEvent[];

  beforeAll(async () => {
    build();
    network = makeNetwork();
    run = await LoaderRun.start('--scope', `netns:${network.name}`, '--payload', '512', '--no-wakes');
    const load = new LoadProgram(network.name, 'calls');
    await load.end();
    await run.stop();
    calls = readCalls(load.lines);
    events = movedBy(run);
  });
  afterAll(() => network.remove());

  for (const [name, check] of Object.entries(CALL_CHECKS)) test(name, () => check(calls, events, run));
});
