import { statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { TracehouseError } from '../schema/errors.ts';

/** Kept free: a checkpoint that meets a full disk costs more than a batch that has to wait. */
export const RESERVE_BYTES = 16 * 1024 * 1024;

/** For the checkpoint of a database: a block a table, and what its write-ahead log holds once more. */
export const checkpointBytes = (path: string): number => 4 * 1024 * 1024 + 2 * (statSync(`${path}.wal`, { throwIfNoEntry: false })?.size ?? 0);

async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

export async function hasRoom(folder: string, bytes: number): Promise<boolean> {
  return (await freeBytes(folder)) >= bytes + RESERVE_BYTES;
}

export async function requireRoom(folder: string, bytes: number): Promise<void> {
  const free = await freeBytes(folder);
  if (free < bytes + RESERVE_BYTES) {
    throw new TracehouseError('disk-full', `no space left for ${folder} (${Math.floor(free / 1048576)} MiB free)`, {
      mend: 'free some space or lower the retention; batches are taken again as soon as there is room',
    });
  }
}
