// A network namespace of our own: ports never clash with the machine's, and it is a scope that traces nothing else.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { TracehouseError } from '../schema/errors.ts';

const PREFIX = 'th';

function ip(...args: string[]): void {
  try {
    execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new TracehouseError('no-iproute2', "the program 'ip' is missing", { mend: 'apt-get install iproute2' });
    }
    const said = String((error as { stderr?: unknown }).stderr ?? '').trim();
    throw new TracehouseError('netns', `ip ${args.join(' ')} failed${said === '' ? '' : `: ${said}`}`, {
      mend: 'network namespaces need root (CAP_NET_ADMIN and CAP_SYS_ADMIN)',
    });
  }
}

/** Namespaces whose maker was killed before it could remove them: the name holds its process id. */
function removeLeftOvers(): void {
  const folder = '/run/netns';
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const maker = new RegExp(`^${PREFIX}-(\\d+)-[0-9a-f]{6}$`).exec(name)?.[1];
    if (maker !== undefined && !existsSync(`/proc/${maker}`)) {
      try {
        ip('netns', 'del', name);
      } catch {
        // Another run of ours was quicker.
      }
    }
  }
}

export class NetworkNamespace {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Makes it, loopback up. Root only. */
  static create(): NetworkNamespace {
    removeLeftOvers();
    const name = `${PREFIX}-${process.pid}-${randomBytes(3).toString('hex')}`;
    ip('netns', 'add', name);
    ip('-n', name, 'link', 'set', 'lo', 'up');
    return new NetworkNamespace(name);
  }

  /** Joins two namespaces by a veth pair; the addresses are CIDR. */
  static join(left: NetworkNamespace, left_address: string, right: NetworkNamespace, right_address: string): void {
    const link = `v${randomBytes(3).toString('hex')}`;
    ip('-n', left.name, 'link', 'add', `${link}a`, 'type', 'veth', 'peer', 'name', `${link}b`, 'netns', right.name);
    for (const [side, device, address] of [[left, `${link}a`, left_address], [right, `${link}b`, right_address]] as const) {
      ip('-n', side.name, 'addr', 'add', address, 'dev', device);
      ip('-n', side.name, 'link', 'set', device, 'up');
    }
  }

  ip(...args: string[]): void {
    ip('-n', this.name, ...args);
  }

  /** The command, made to run inside. */
  inside(command: readonly string[]): string[] {
    return ['nsenter', `--net=/run/netns/${this.name}`, '--', ...command];
  }

  remove(): void {
    ip('netns', 'del', this.name);
  }
}

/** TCP ports that are listened on in the network namespace of this process; no connection is made for asking. */
export function listeningPorts(pid: number): Set<number> {
  const ports = new Set<number>();
  for (const table of ['tcp', 'tcp6']) {
    let text = '';
    try {
      text = readFileSync(`/proc/${pid}/net/${table}`, 'utf8');
    } catch {
      continue; // IPv6 is off, or the process has gone
    }
    for (const line of text.split('\n').slice(1)) {
      const [, local, , state] = line.trim().split(/\s+/);
      if (state === '0A' && local !== undefined) ports.add(Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16));
    }
  }
  return ports;
}
