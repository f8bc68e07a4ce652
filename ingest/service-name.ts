// What a process is called, from what /proc says of it: the first rule that has an answer.
import { baseName, programOf, splitArguments } from './command-line.ts';

export interface ProcessFacts {
  readonly exe: string;
  /** Arguments, separated by NUL or, failing that, by spaces. */
  readonly cmdline: string;
  readonly container_id: string;
  readonly cgroup_path: string;
  readonly otel_service_name: string;
  readonly comm: string;
  readonly cwd: string;
}

export interface ServiceName {
  readonly service_name: string;
  readonly service_rule: 'env' | 'container' | 'unit' | 'script' | 'exe';
}

const LONGEST_NAME = 128;

/** Units that start other people's programs: their name says nothing about these. */
const LAUNCHING_UNITS = /^(user@\d+|session-.*|ssh(d)?(@.*)?|cron(d|ie)?|atd|getty@.*|serial-getty@.*|console-getty|docker|containerd|podman|crio|k3s|kubelet|jenkins|gitlab-runner|actions\.runner\..*|actions-runner|code-server.*|run-[ru][0-9a-f]+|run-p\d+-i\d+|init|rc-local|supervisor|supervisord|systemd-nspawn@.*)$/;

/** systemd writes '-' as \x2d. */
const unescapeUnit = (name: string): string => name.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

/** A container's name, where the cgroup carries one; an id that nobody chose is no name. */
function containerName(path: string): string | null {
  const match = /\/lxc(?:\.payload)?[./]([^/]+)/.exec(path) ?? /\/machine-([^/]+)\.scope/.exec(path) ?? /\/systemd-nspawn@([^/]+)\.service/.exec(path);
  const name = match?.[1] === undefined ? '' : unescapeUnit(match[1]);
  return name === '' || /^[0-9a-f]{12,64}$/.test(name) ? null : name;
}

/** The innermost service unit of the cgroup's path. */
function unitName(path: string): string | null {
  for (const part of path.split('/').toReversed()) {
    if (!part.endsWith('.service')) continue;
    const name = unescapeUnit(part.slice(0, -'.service'.length));
    return LAUNCHING_UNITS.test(name) ? null : name;
  }
  return null;
}

/** Executables that come in versions, side by side. */
const withoutVersion = (exe: string): string => exe.replace(/^(python|pypy|ruby|php|php-fpm|php-cgi|perl|lua|postgres|node)-?[\d.]+$/, '$1');

const RULES: readonly (readonly [ServiceName['service_rule'], (facts: ProcessFacts, exe: string) => string | null])[] = [
  ['env', (facts) => facts.otel_service_name.trim()],
  ['container', (facts) => containerName(facts.cgroup_path)],
  ['unit', (facts) => unitName(facts.cgroup_path)],
  ['script', (facts, exe) => programOf(exe, facts.cmdline, facts.cwd)],
  ['exe', (facts, exe) => withoutVersion(exe === '' ? facts.comm : exe)],
];

/** Null when nothing at all is known. */
export function nameService(facts: ProcessFacts): ServiceName | null {
  const exe = baseName(facts.exe.replace(/ \(deleted\)$/, '')) || baseName(splitArguments(facts.cmdline)[0] ?? '');
  for (const [service_rule, name] of RULES) {
    const service_name = name(facts, exe);
    if (service_name !== null && service_name !== '') return { service_name: service_name.slice(0, LONGEST_NAME), service_rule };
  }
  return null;
}
