// A service of one application: its address, its operations, and the processes behind it.
import type { App, ServicePlan } from './apps.ts';
import type { Route } from './http-text.ts';
import type { Station } from './station.ts';

export interface Service {
  readonly app: App;
  readonly name: string;
  readonly plan: ServicePlan;
  /** Among the services of its application. */
  readonly index: number;
  readonly routes: readonly Route[];
  /** The address that callers know, where one is translated; else null: they call the process itself. */
  readonly virtual_ip: number | null;
  /** Of each step. */
  readonly callees: (readonly Service[])[];
  readonly stations: Station[];
  next_station: number;
}
