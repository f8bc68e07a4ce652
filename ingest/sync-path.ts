import { open } from 'node:fs/promises';

/** Of a file its bytes, of a folder its names. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
