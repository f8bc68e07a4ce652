// A network namespace with the services of a shape in it, and everything that has to be gone afterwards.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NetworkNamespace } from '../../demo/network-namespace.ts';
import { ServiceGroup, type ServiceSpec } from '../../demo/service-group.ts';

export interface Stage {
  readonly netns: NetworkNamespace;
  /** Readable by any user: Apache's children give root up. */
  readonly folder: string;
  readonly services: ServiceGroup;
  stop(): Promise<void>;
}

export async function setStage(services: (folder: string) => readonly ServiceSpec[]): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'tracehouse-stage-'));
  chmodSync(folder, 0o755);
  let netns: NetworkNamespace | undefined;
  let group: ServiceGroup | undefined;
  const stop = async (): Promise<void> => {
    await group?.stop();
    netns?.remove();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    netns = NetworkNamespace.create();
    group = new ServiceGroup(netns, folder);
    for (const spec of services(folder)) group.start(spec);
    await group.ready();
    return { netns, folder, services: group, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
