// The other end of an exporter, on the same machine and next to free: it keeps what it gets until it is asked.
import http from 'node:http';
import { join } from 'node:path';
import type { ServiceSpec } from '../demo/service-group.ts';
import { packageRoot } from '../schema/package-root.ts';
import type { Stage } from '../test/accuracy/stage.ts';

const socketOf = (folder: string, port: number): string => join(folder, `sink-${port}.sock`);

export function sink(folder: string, port: number): ServiceSpec {
  const socket = socketOf(folder, port);
  return { name: `sink-${port}`, command: [process.execPath, join(packageRoot(), 'bench', 'services', 'sink.mjs'), String(port), socket], ports: [port], sockets: [socket] };
}

/** The bodies that it was sent since it was last asked. */
export async function takenBySink({ folder }: Stage, port: number): Promise<Uint8Array[]> {
  const all = await new Promise<Buffer>((resolve, reject) => {
    const parts: Buffer[] = [];
    http.get({ socketPath: socketOf(folder, port) }, (response) => response.on('data', (part: Buffer) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts))).on('error', reject)).on('error', reject);
  });
  const bodies: Uint8Array[] = [];
  for (let at = 0; at < all.length; ) {
    const end = at + 4 + all.readUInt32LE(at);
    bodies.push(all.subarray(at + 4, end));
    at = end;
  }
  return bodies;
}
