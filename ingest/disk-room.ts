import { statfs } from 'node:fs/promises';
import { TracehouseError } from '../schema/errors.ts';

/** Kept free: a checkpoint that meets a full disk costs more than a batch that has to wait. */
export const RESERVE_BYTES = 16 * 1024 * 1024;

export async function requireRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (free < bytes + RESERVE_BYTES) {
    throw new TracehouseError('disk-full', `no space left for ${folder} (${Math.floor(free / 1048576)} MiB free)`, {
      mend: 'free some space or lower the retention; batches are taken again as soon as there is room',
    });
  }
}
