import { constants } from 'node:fs';
import { copyFile, link, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { syncPath } from '../../ingest/sync-path.ts';
import type { Destination } from './destination.ts';

/** Node's own recursive one never settles in /proc, where nothing can be made. */
async function makeFolders(path: string): Promise<void> {
  if (await stat(path).then((found) => found.isDirectory(), () => false)) return;
  const parent = dirname(path);
  if (parent !== path) await makeFolders(parent);
  await mkdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

export class LocalFolder implements Destination {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Readers that look for *.parquet, and those that leave out names with a dot in front, never see half a file. */
  async put(staged: string, path: string): Promise<void> {
    const final = join(this.#folder, path);
    const folder = dirname(final);
    await makeFolders(folder);
    const partial = join(folder, `.${basename(final)}.part`);
    await rm(partial, { force: true });
    // It is synced, and needs no second place on the same file system.
    await link(staged, partial).catch(async () => {
      await copyFile(staged, partial, constants.COPYFILE_FICLONE);
      await syncPath(partial);
    });
    await rename(partial, final);
    await rm(partial, { force: true }); // two names of one file are left as they are
    // The names of new partitions too.
    for (let at = folder; at.length >= this.#folder.length; at = dirname(at)) {
      await syncPath(at);
      if (at === dirname(at)) break;
    }
  }

  async get(path: string): Promise<Readable> {
    const handle = await open(join(this.#folder, path), 'r');
    return handle.createReadStream();
  }

  async remove(path: string): Promise<void> {
    await rm(join(this.#folder, path), { force: true });
  }

  close(): void {}
}
