// What a process is called, from what /proc says of it.

export interface ProcessFacts {
  readonly exe: string;
  /** Arguments, separated by NUL or, failing that, by spaces. */
  readonly cmdline: string;
  readonly container_id: string;
  readonly cgroup_path: string;
  readonly otel_service_name: string;
  readonly comm: string;
}

export interface ServiceName {
  readonly service_name: string;
  readonly service_rule: 'env' | 'container' | 'unit' | 'script' | 'exe';
}

export function nameService(facts: ProcessFacts): ServiceName | null {
  const exe = facts.exe.split('/').at(-1) ?? '';
  return exe === '' ? null : { service_name: exe, service_rule: 'exe' };
}
