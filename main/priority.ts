// The traced programs come first: on a busy machine a collector gets what they leave, and a small share.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Of `collect` and `record`. */
export const YIELDING = 10;

/** Nothing depends on it: not every kernel has it, and not every container permits it. */
function attempt(change: () => void): void {
  try {
    change();
  } catch {
    // stays as it was
  }
}

/** Where the kernel weighs sessions against each other, a nice value counts within one only. */
function weighSession(pid: number, nice: number): void {
  attempt(() => {
    const [, , , session] = (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1) ?? '').split(' ');
    // Somebody else's session has other programs in it.
    if (Number(session) === pid) writeFileSync(`/proc/${pid}/autogroup`, String(nice));
  });
}

/** Every thread of this process, those to come, and the processes it starts from now on. Linux gives each thread a value of its own. */
export function stepBack(nice: number): void {
  if (nice === 0) return;
  for (const thread of readdirSync('/proc/self/task')) attempt(() => setPriority(Number(thread), nice));
  weighSession(process.pid, nice);
}

/** A process that leads its session, which only root may weigh. */
export function stepBackChild(pid: number, nice: number): void {
  if (nice !== 0) weighSession(pid, nice);
}
