import { readdirSync, readlinkSync, realpathSync } from 'node:fs';

/**
 * Whether this process has the file open: DuckDB locks it then, and no other process can read it. A database that was detached stays open
 * until each transaction that has looked at it is over, be it only to list all tables.
 */
export function isOpenHere(path: string): boolean {
  const real = realpathSync(path);
  return readdirSync('/proc/self/fd').some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === real;
    } catch {
      return false; // closed meanwhile
    }
  });
}
