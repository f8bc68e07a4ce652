// Secrets in payload that is kept: values of Cookie, Set-Cookie and (Proxy-)Authorization, and query strings.
import type { SocketEvent } from './socket-event.ts';
import type { Side, SocketState } from './socket-state.ts';

export class Redactor {
  constructor(_options: { readonly keep_query: boolean }) {}
  prepare(_event: SocketEvent, _socket: SocketState, _side: Side | null): void {}
  apply(data: Uint8Array, start: number): void {
    data.fill(0x2a, start);
  }
}
