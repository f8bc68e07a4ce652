// A file as the body of a POST, through one piece of memory that is used again and again: fetch copies bodies.
import type { FileHandle } from 'node:fs/promises';
import http from 'node:http';
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import https from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

export interface Answer {
  readonly status: number;
  readonly text: string;
}

const PIECE_BYTES = 256 * 1024;
const TIMEOUT_MS = 60_000;
/** The default level takes four times the CPU for a tenth less. */
const PACK_LEVEL = 1;

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  response.setEncoding('utf8');
  for await (const part of response) text += part as string;
  return text;
}

/** Resolves however it ends; a request that never got its connection does not tell. */
const written = (request: ClientRequest, piece: Uint8Array): Promise<void> => new Promise((resolve) => request.write(piece, () => resolve()));

export class FilePost {
  readonly #url: URL;
  readonly #headers: OutgoingHttpHeaders;
  readonly #module: typeof http | typeof https;
  readonly #agent: http.Agent;
  readonly #piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

  constructor(url: URL, headers: OutgoingHttpHeaders) {
    this.#url = url;
    this.#headers = headers;
    this.#module = url.protocol === 'https:' ? https : http;
    this.#agent = new this.#module.Agent({ keepAlive: true, maxSockets: 1 });
  }

  /** One at a time. Throws when there was no answer. */
  async send(file: FileHandle, bytes: number, packed: boolean): Promise<Answer> {
    const body = packed ? await promisify(gzip)(await file.readFile(), { level: PACK_LEVEL }) : undefined;
    const headers = { ...this.#headers, 'content-length': body?.length ?? bytes, ...(packed ? { 'content-encoding': 'gzip' } : {}) };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    for (;;) {
      const request = this.#module.request(this.#url, { method: 'POST', agent: this.#agent, headers, signal });
      try {
        return await this.#exchange(request, body ?? file);
      } catch (error) {
        // The other end closed it just then, as it may between two requests.
        if (!request.reusedSocket || (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
      }
    }
  }

  async #exchange(request: ClientRequest, body: Uint8Array | FileHandle): Promise<Answer> {
    let over = false;
    const answer = new Promise<Answer>((resolve, reject) => {
      let answered = false;
      request.once('error', reject);
      request.once('close', () => answered || reject(new Error('the connection was closed without an answer')));
      request.once('response', (response: IncomingMessage) => {
        answered = true;
        textOf(response).then((text) => resolve({ status: response.statusCode ?? 0, text }), reject);
      });
    }).finally(() => (over = true));
    const settled = answer.then(() => undefined, () => undefined);
    try {
      if (body instanceof Uint8Array) request.end(body);
      // An answer may come before all is sent: a refusal.
      else if (await this.#stream(request, body, settled, () => over)) request.end();
      return await answer;
    } finally {
      // The next one waits for its connection, also where the file could not be read.
      if (!request.writableFinished) request.destroy();
    }
  }

  /** False when it was over before all was sent. Memory and file are not touched after that. */
  async #stream(request: ClientRequest, file: FileHandle, settled: Promise<void>, over: () => boolean): Promise<boolean> {
    for (let at = 0; ; ) {
      const { bytesRead } = await file.read(this.#piece, 0, PIECE_BYTES, at);
      if (over()) return false;
      if (bytesRead === 0) return true;
      at += bytesRead;
      await Promise.race([written(request, this.#piece.subarray(0, bytesRead)), settled]);
      if (over()) return false;
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}
