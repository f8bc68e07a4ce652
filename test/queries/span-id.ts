/** What queries/correlate/10-exchanges.sql computes: the kernel, or the other end, can do the same. */
export function spanId(conn_id: bigint, stream_offset: bigint, kind: 'server' | 'client'): bigint {
  const [a, b] = kind === 'server' ? [7919n, 1299709n] : [104729n, 15485863n];
  const high = ((conn_id % 2147483629n) * 1103515245n + (stream_offset % 1000000007n) * 69069n + a) % 2147483647n;
  const low = ((conn_id % 4294967291n) * 1073741789n + (stream_offset % 2147483629n) * 1073741827n + b) % 4294967291n;
  return high * 4294967296n + low;
}
