// The short form of `npm run accuracy`: real services, real eBPF, 200 requests a shape.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { measure } from './measure.ts';
import { SHAPES, missedGoals } from './shapes.ts';
import { setStage } from './stage.ts';
import { Tracer } from './tracer.ts';

const REQUESTS = 200;
const IN_FLIGHT = 8;

/** What other runtimes do is measured by `npm run accuracy`: a newcomer need not have them. */
const SHORT = Object.entries(SHAPES).filter(([, shape]) => shape.needs.length === 0);

describe(`${REQUESTS} requests, ids hashed at each hop: each shape reaches its goal`, () => {
  test.each(SHORT)('%s', async (_name, shape) => {
    const data = mkdtempSync(join(tmpdir(), 'tracehouse-accuracy-'));
    onTestFinished(() => rmSync(data, { recursive: true, force: true }));
    const stage = await setStage((folder) => shape.services(folder));
    onTestFinished(() => stage.stop());
    const tracer = await Tracer.start({ data, scopes: [`netns:${stage.netns.name}`] });
    onTestFinished(async () => void (await tracer.stop()));

    const { verdict } = await measure(tracer, stage, shape, REQUESTS, Math.min(IN_FLIGHT, shape.most_in_flight), 'hashed');
    const missed = missedGoals(shape, IN_FLIGHT, verdict);
    expect({ missed, faults: missed.length > 0 ? verdict.faults.slice(0, 10) : [] }).toEqual({ missed: [], faults: [] });
    expect(verdict.requests).toBe(REQUESTS);
    expect(await tracer.stop()).toBe(0);
  }, 60_000);
});
