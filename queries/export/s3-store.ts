// An S3-compatible store. An object appears when its upload is complete, and again under the same key it is the same.
// Endpoint, region and credentials come from where AWS's own tools take them: AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, ...
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { TracehouseError } from '../../schema/errors.ts';
import type { Destination } from './destination.ts';

const PART_BYTES = 8 * 1024 * 1024;
/** Without them a store that takes a connection and says nothing would be waited for for ever. */
const CONNECT_MS = 10_000;
const SILENT_MS = 60_000;

/** s3://bucket/prefix. Error: export-destination. */
export function parseS3(destination: string): { bucket: string; prefix: string } {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(destination);
  if (match === null) throw new TracehouseError('export-destination', `${destination} is no place in an S3 store`, { mend: 'write s3://bucket/prefix' });
  const prefix = (match[2] ?? '').replace(/\/+$/, '');
  return { bucket: match[1] as string, prefix: prefix === '' ? '' : `${prefix}/` };
}

export class S3Store implements Destination {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #closing = new AbortController();

  constructor(destination: string, env: NodeJS.ProcessEnv = process.env, silent_ms = SILENT_MS) {
    ({ bucket: this.#bucket, prefix: this.#prefix } = parseS3(destination));
    const endpoint = env['AWS_ENDPOINT_URL_S3'] ?? env['AWS_ENDPOINT_URL'];
    this.#client = new S3Client({
      region: env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
      // Stores of other makers have no host name for each bucket, and know no checksums in trailers.
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: silent_ms },
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  async put(staged: string, path: string): Promise<void> {
    const params = { Bucket: this.#bucket, Key: this.#prefix + path, Body: createReadStream(staged), ContentType: 'application/vnd.apache.parquet' };
    const upload = new Upload({ client: this.#client, params, partSize: PART_BYTES, queueSize: 2 });
    const { signal } = this.#closing; // one signal for several uploads would end the last of them alone
    const stop = (): void => void upload.abort();
    signal.addEventListener('abort', stop);
    try {
      await upload.done();
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async get(path: string): Promise<Readable> {
    const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + path }), { abortSignal: this.#closing.signal });
    if (!(Body instanceof Readable)) throw new TracehouseError('export-destination', `the store gave no bytes for ${path}`);
    return Body;
  }

  async remove(path: string): Promise<void> {
    await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + path }), { abortSignal: this.#closing.signal });
  }

  close(): void {
    this.#closing.abort();
    this.#client.destroy();
  }
}
