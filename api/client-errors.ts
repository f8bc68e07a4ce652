// What Node.js could not read as HTTP: there is no request to answer, only a connection.
import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { PROBLEM_TYPE } from './problem.ts';

const STATUS_OF: Readonly<Record<string, readonly [status: number, detail: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the headers are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not come to its end in time'],
};

/** For Fastify's clientErrorHandler: answers, if anybody still listens, and hangs up. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const [status, detail] = STATUS_OF[error.code ?? ''] ?? [400, 'this is no HTTP request'];
  const problem = { type: 'urn:tracehouse:problem:invalid-request', title: STATUS_CODES[status], status, code: 'invalid-request', detail, instance: '', request_id: randomUUID() };
  const body = JSON.stringify(problem);
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`);
}
