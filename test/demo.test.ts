import { existsSync } from 'node:fs';
import { expect, onTestFinished, test } from 'vitest';
import { startDemo } from '../demo/start-demo.ts';
import { Tracer } from './accuracy/tracer.ts';
import { temporaryFolder } from './support/temporary-folder.ts';

test('the demo is traced from its front to the bank, and leaves nothing behind', async () => {
  const data = temporaryFolder();
  const demo = await startDemo();
  onTestFinished(() => demo.stop());
  const tracer = await Tracer.start({ data, scopes: [`netns:${demo.netns}`] });
  onTestFinished(async () => void (await tracer.stop()));

  // customers -> nginx -> shop -> payments -> bank, with pricing in between: two spans a call
  const whole = `select trace_id from spans where http_request_method is not null group by trace_id
    having count(*) = 10 and count(*) filter (where parent_span_id is null) = 1 and bool_or(url_path like '/transfers/%') and bool_or(url_path like '/prices/%')`;
  const found = await tracer.poll(whole, (rows) => rows.length > 0, 20_000);
  expect(found.length).toBeGreaterThan(0);
  expect(demo.services).toEqual(['bank', 'payments', 'pricing', 'catalog', 'shop', 'nginx', 'customers']);

  await tracer.stop();
  await demo.stop();
  expect(existsSync(`/run/netns/${demo.netns}`)).toBe(false);
  expect(demo.pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
}, 60_000);
