// A real S3 server on loopback, and an environment that leads the AWS SDK to it.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import S3rver from 's3rver';

const ENV = { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER', AWS_REGION: 'us-east-1', AWS_MAX_ATTEMPTS: '1' };

export class S3Server {
  readonly folder: string;
  readonly #before = { ...process.env };
  #server: S3rver | undefined;
  port = 0;

  private constructor(folder: string) {
    this.folder = join(folder, 's3');
  }

  /** With one bucket, `traces`, below the folder. */
  static async start(folder: string): Promise<S3Server> {
    const made = new S3Server(folder);
    await made.comeBack();
    Object.assign(process.env, ENV, { AWS_ENDPOINT_URL: `http://127.0.0.1:${made.port}` });
    return made;
  }

  async goAway(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  /** On the same port, with what it held. */
  async comeBack(): Promise<void> {
    this.#server = new S3rver({ address: '127.0.0.1', port: this.port, silent: true, directory: this.folder, configureBuckets: [{ name: 'traces', configs: [] }] });
    ({ port: this.port } = (await this.#server.run()) as unknown as { port: number });
  }

  async stop(): Promise<void> {
    await this.goAway();
    process.env = this.#before;
    rmSync(this.folder, { recursive: true, force: true });
  }
}
