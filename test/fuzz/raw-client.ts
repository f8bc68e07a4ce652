// HTTP/1.1 by hand: what well-behaved clients refuse to send has to be sent, too.
import { connect } from 'node:net';

export interface RawRequest {
  readonly method: string;
  /** Sent byte by byte as it is, in Latin-1. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** More than the body has: the rest never comes, the sending side is closed instead. */
  readonly content_length: number | undefined;
}

export interface RawAnswer {
  /** 0: the connection was closed without one. */
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  readonly took_ms: number;
}

export function encodeRequest({ method, target, headers, body, content_length }: RawRequest): Buffer {
  const length = content_length ?? body.length;
  const lines = [`${method} ${target} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`), ...(length > 0 || method !== 'GET' ? [`content-length: ${length}`] : []), 'connection: close', '', ''];
  return Buffer.concat([Buffer.from(lines.join('\r\n'), 'latin1'), body]);
}

/** Settles when the server has closed; fails when that takes longer than the deadline. */
export function exchangeBytes(port: number, pieces: readonly Buffer[], options: { deadline_ms: number; half_close?: boolean; pause_ms?: number }): Promise<RawAnswer> {
  const { deadline_ms, half_close = false, pause_ms = 0 } = options;
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const came: Buffer[] = [];
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer within ${deadline_ms} ms`));
    }, deadline_ms);
    const left = [...pieces];
    const sendNext = (): void => {
      const piece = left.shift();
      if (piece !== undefined && !socket.destroyed) socket.write(piece, () => (pause_ms === 0 ? sendNext() : setTimeout(sendNext, pause_ms)));
      else if (half_close) socket.end();
    };
    socket.once('connect', sendNext);
    socket.on('data', (bytes) => came.push(bytes));
    socket.once('end', () => socket.destroy());
    // It need not read to its end what it has refused.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(parseAnswer(Buffer.concat(came), performance.now() - begun));
    });
  });
}

function parseAnswer(bytes: Buffer, took_ms: number): RawAnswer {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return { status: 0, headers: new Map(), body: bytes, took_ms };
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const));
  const rest = bytes.subarray(end + 4);
  return { status: Number(first.split(' ')[1]), headers, body: headers.get('transfer-encoding') === 'chunked' ? joinChunks(rest) : rest, took_ms };
}

function joinChunks(bytes: Buffer): Buffer {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const line_end = bytes.indexOf('\r\n', at);
    const length = line_end === -1 ? 0 : Number.parseInt(bytes.subarray(at, line_end).toString('latin1'), 16);
    if (!(length > 0)) return Buffer.concat(chunks);
    chunks.push(bytes.subarray(line_end + 2, line_end + 2 + length));
    at = line_end + 2 + length + 2;
  }
}
