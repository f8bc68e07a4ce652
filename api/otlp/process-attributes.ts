// What is known of the processes that spans belong to, in OpenTelemetry's words. Command lines stay here: they may hold secrets.
import type { Warehouse } from '../../ingest/warehouse.ts';
import type { Attributes } from '../formats/span-attributes.ts';
import type { SpanRow } from '../lookups/trace-spans.ts';

const MOST_KEPT = 10_000;
/** Of kubelet's cgroups: .../pod0f3c...-..., or with _ where systemd names them. */
const POD = /pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})/;

function attributes(exe: unknown, container_id: unknown, cgroup: unknown): Attributes {
  const pod = typeof cgroup === 'string' ? POD.exec(cgroup)?.[1]?.replaceAll('_', '-') : undefined;
  const pairs: readonly (readonly [string, unknown])[] = [['process.executable.path', exe], ['container.id', container_id], ['k8s.pod.uid', pod]];
  return pairs.flatMap(([key, value]) => (typeof value === 'string' && value !== '' ? [[key, value] as const] : []));
}

export class ProcessAttributes {
  readonly #warehouse: Warehouse;
  readonly #known = new Map<bigint, Attributes>();

  constructor(warehouse: Warehouse) {
    this.#warehouse = warehouse;
  }

  async of(spans: readonly SpanRow[]): Promise<(span: SpanRow) => Attributes> {
    const missing = new Set(spans.flatMap(({ process_id }) => (process_id === null || this.#known.has(process_id) ? [] : [process_id])));
    if (missing.size > 0) {
      if (this.#known.size > MOST_KEPT) this.#known.clear();
      const { rows } = await this.#warehouse.query('SELECT process_id, exe, container_id, cgroup FROM processes WHERE list_contains($1, process_id)', [[...missing]]);
      for (const [process_id, exe, container_id, cgroup] of rows) this.#known.set(process_id as bigint, attributes(exe, container_id, cgroup));
    }
    return ({ process_id }) => (process_id === null ? undefined : this.#known.get(process_id)) ?? [];
  }
}
