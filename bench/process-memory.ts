import { readFileSync, readdirSync } from 'node:fs';

/** Resident memory of a process, bytes; 0 when it has gone. Source: /proc/PID/status VmRSS. */
export function residentBytes(pid: number): number {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kib === undefined ? 0 : Number(kib) * 1024;
  } catch {
    return 0;
  }
}

/** Memory that the process would give back, bytes: pages that it maps twice, as the ring buffer, count once. Source: smaps_rollup Pss. */
export function ownBytes(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** CPU seconds that a process has used so far. Source: /proc/PID/stat, clock ticks of 10 ms. */
export function cpuSeconds(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}

/** The direct child of `parent` whose command is `comm`, if any. */
export function childNamed(parent: number, comm: string): number | undefined {
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const found = /^\d+ \((.*)\) \S (\d+)/.exec(stat);
      if (found?.[1]?.startsWith(comm.slice(0, 15)) === true && Number(found[2]) === parent) return Number(name);
    } catch {
      // gone meanwhile
    }
  }
  return undefined;
}
