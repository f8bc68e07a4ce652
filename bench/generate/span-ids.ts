// The ids that queries/correlate/10-exchanges.sql gives spans, in 53-bit arithmetic: two a request, for the truth.

const [HIGH_PRIME, LOW_PRIME] = [2_147_483_647, 4_294_967_291];
const LOW_FACTOR = 1_073_741_827;

export class SpanIds {
  readonly #high: number;
  readonly #low: number;

  constructor(conn_low: number, conn_high: number) {
    const conn = (BigInt(conn_high >>> 0) << 32n) | BigInt(conn_low >>> 0);
    this.#high = Number(((conn % 2_147_483_629n) * 1_103_515_245n) % BigInt(HIGH_PRIME));
    this.#low = Number(((conn % 4_294_967_291n) * 1_073_741_789n) % BigInt(LOW_PRIME));
  }

  /** Upper 31 bits of the id of the request whose first byte is there. */
  high(stream_offset: number, is_server: boolean): number {
    return (this.#high + ((stream_offset % 1_000_000_007) * 69_069) + (is_server ? 7919 : 104_729)) % HIGH_PRIME;
  }

  /** Lower 32 bits, unsigned. */
  low(stream_offset: number, is_server: boolean): number {
    const place = stream_offset % 2_147_483_629;
    const upper = Math.floor(place / 1_048_576);
    const product = ((((upper * LOW_FACTOR) % LOW_PRIME) * 1_048_576) + (place % 1_048_576) * LOW_FACTOR) % LOW_PRIME;
    return (this.#low + product + (is_server ? 1_299_709 : 15_485_863)) % LOW_PRIME;
  }
}
