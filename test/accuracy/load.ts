import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NetworkNamespace } from '../../demo/network-namespace.ts';
import { TracehouseError } from '../../schema/errors.ts';
import { packageRoot } from '../../schema/package-root.ts';
import { PORTS } from './shape-services.ts';
import type { Shape } from './shapes.ts';
import { expectedBody } from './tree.ts';

/** same: each hop's path carries the request's id; hashed: a hash of it, so that no bytes tell which call belongs where. */
export type Mode = 'same' | 'hashed';

export interface Sent {
  readonly id: string;
  readonly started: number;
  readonly ended: number;
  readonly status: number;
  readonly ok: boolean;
  readonly error?: string;
}

const run = promisify(execFile);

/** Sends the requests from inside the namespace; fails unless every one was answered by the whole tree of services. */
export async function sendLoad(shape: Shape, netns: NetworkNamespace, folder: string, requests: number, in_flight: number, mode: Mode): Promise<Sent[]> {
  const batch = randomBytes(4).toString('hex');
  const ids = Array.from({ length: requests }, (_, index) => `${mode === 'same' ? 's' : 'h'}${batch}${index.toString(16).padStart(6, '0')}`);
  const plan = { port: PORTS[shape.tree.hop], hop: shape.tree.hop, ids, in_flight, keep: shape.keep, expect: expectedBody(shape.tree) };
  const plan_file = join(folder, 'plan.json');
  const out_file = join(folder, 'sent.ndjson');
  writeFileSync(plan_file, JSON.stringify(plan));
  const [program = '', ...args] = netns.inside([process.execPath, join(packageRoot(), 'test/accuracy/services/load.mjs'), plan_file, out_file]);
  await run(program, args, { timeout: 300_000 });
  const sent = readFileSync(out_file, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Sent);
  const failed = sent.filter((one) => !one.ok);
  if (failed.length > 0) {
    throw new TracehouseError('load', `${failed.length} of ${sent.length} requests failed, the first with ${JSON.stringify(failed[0])}: the services are at fault, no verdict`);
  }
  return sent;
}
