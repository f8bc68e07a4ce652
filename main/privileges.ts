import { spawnSync } from 'node:child_process';
import { accessSync, chownSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { TracehouseError } from '../schema/errors.ts';

/** uid and gid that `sudo` came from, or undefined. */
function sudoUser(): { uid: number; gid: number } | undefined {
  const uid = Number(process.env['SUDO_UID']);
  const gid = Number(process.env['SUDO_GID']);
  return Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 ? { uid, gid } : undefined;
}

/** Makes the data folder when it is missing; under sudo it belongs to the user who called. */
export function ensureDataFolder(folder: string): void {
  if (existsSync(folder)) {
    if (!statSync(folder).isDirectory()) {
      throw new TracehouseError('data-folder', `--data ${folder} is not a folder`, { mend: 'name a folder, or a path that does not exist yet', exit_code: 2 });
    }
    return;
  }
  try {
    if (!existsSync(dirname(folder))) mkdirSync(dirname(folder), { recursive: true });
    mkdirSync(folder, { mode: 0o750 });
  } catch (cause) {
    throw new TracehouseError('data-folder', `cannot make the data folder ${folder}: ${(cause as Error).message}`, { mend: 'name another one with --data', cause });
  }
  const user = sudoUser();
  if (user !== undefined && process.getuid?.() === 0) chownSync(folder, user.uid, user.gid);
}

/**
 * Gives up root for good: from here on this process is the data folder's owner.
 * Whatever needs root (the loader, the demo's namespace) has to be running already.
 * Returns the uid that it runs as.
 */
export function dropToOwner(folder: string): number {
  const uid = process.getuid?.() ?? 0;
  if (uid !== 0) return uid;
  const owner = statSync(folder);
  if (owner.uid === 0) return 0;
  // What runs SQL stands behind everything else, and may be let forward only as far as this.
  spawnSync('prlimit', ['--pid', String(process.pid), '--nice=5:5'], { stdio: 'ignore' });
  process.setgroups?.([]);
  process.setgid?.(owner.gid);
  process.setuid?.(owner.uid);
  return owner.uid;
}

/** Makes the folders of a path that are missing, for the owner of the data folder, whom this process is about to be. Error: export-destination. */
export function makeForOwner(path: string, data_folder: string): void {
  if (existsSync(path)) return;
  makeForOwner(dirname(path), data_folder);
  try {
    mkdirSync(path);
  } catch (cause) {
    throw new TracehouseError('export-destination', `cannot make the folder ${path}: ${(cause as Error).message}`, { mend: 'name another one with --to', cause });
  }
  const { uid, gid } = statSync(data_folder);
  if (process.getuid?.() === 0) chownSync(path, uid, gid);
}

/** Error: export-destination. */
export function requireWritable(folder: string): void {
  try {
    accessSync(folder, constants.W_OK);
  } catch (cause) {
    throw new TracehouseError('export-destination', `the owner of the data folder, who writes, may not write to ${folder}: ${(cause as Error).message}`, { mend: 'chown it, or name another folder with --to', cause });
  }
}
