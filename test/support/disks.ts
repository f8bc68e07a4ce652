// Disks that fill and fail for real. Each is gone when the test is; a string says why there is none: mounts need more than root in some containers.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from './temporary-folder.ts';

export interface Disk {
  readonly path: string;
  readonly free_bytes: () => number;
  /** Leaves so many bytes free; undefined: what it took is free again. */
  fill(free_bytes: number | undefined): void;
}

export interface FailingDisk {
  readonly path: string;
  /** It takes no more than it holds now, or everything again. */
  fail(failing: boolean): void;
}

const run = (command: string, ...args: string[]): void => void execFileSync(command, args, { stdio: 'pipe' });

function mounted(path: string, ...args: string[]): string {
  run('mount', ...args, path);
  onTestFinished(() => run('umount', '-l', path));
  return path;
}

const reason = (what: string, error: unknown): string => `no ${what} here: ${String(error).split('\n')[0]}`;

/** Writes fail with ENOSPC when it is full. `path`: where it is mounted. */
export function smallDisk(megabytes: number, path = temporaryFolder()): Disk | string {
  try {
    mounted(path, '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs');
  } catch (error) {
    return reason('tmpfs', error);
  }
  const free_bytes = (): number => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  const filler = `${path}/filler`;
  return {
    path,
    free_bytes,
    fill: (left) => {
      rmSync(filler, { force: true });
      if (left !== undefined) writeFileSync(filler, Buffer.alloc(free_bytes() - left));
    },
  };
}

/** Says that it has 200 MB where there are fewer: writes are taken, their sync fails with ENOSPC. */
export function thinDisk(megabytes: number): FailingDisk | string {
  const folder = temporaryFolder();
  const [below, path] = [`${folder}/below`, `${folder}/disk`];
  try {
    for (const place of [below, path]) mkdirSync(place);
    mounted(below, '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs');
    run('truncate', '-s', '200m', `${below}/image`);
    run('mkfs.ext4', '-q', '-O', '^has_journal', `${below}/image`);
    mounted(path, '-o', 'loop', `${below}/image`);
  } catch (error) {
    return reason('loop device', error);
  }
  return { path, fail: (failing) => run('mount', '-o', `remount,size=${failing ? megabytes : 250}m`, below) };
}

/** Writes are taken, their sync fails with EIO, as of a disk that dies. */
export function dyingDisk(): FailingDisk | string {
  const control = '/sys/class/zram-control';
  if (!existsSync(control)) return 'no zram in this kernel';
  try {
    const number = readFileSync(`${control}/hot_add`, 'utf8').trim();
    const set = (name: string, value: string): void => writeFileSync(`/sys/block/zram${number}/${name}`, value);
    // Registered first, so that it comes after the file system is unmounted.
    onTestFinished(() => void spawnSync('sh', ['-c', `echo ${number} > ${control}/hot_remove`])); // in vain while something still holds it
    set('disksize', '200M');
    run('mkfs.ext4', '-q', '-O', '^has_journal', `/dev/zram${number}`);
    const path = mounted(temporaryFolder(), `/dev/zram${number}`);
    onTestFinished(() => set('mem_limit', '0'));
    return { path, fail: (failing) => set('mem_limit', failing ? '4K' : '0') };
  } catch (error) {
    return reason('zram disk', error);
  }
}
