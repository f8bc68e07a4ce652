// Where files go. What is put there appears whole or not at all, and putting it there again changes nothing.
import type { Readable } from 'node:stream';
import { TracehouseError } from '../../schema/errors.ts';
import { LocalFolder } from './local-folder.ts';

export interface Destination {
  /** Settles when the file lasts under this name. */
  put(staged: string, path: string): Promise<void>;
  /** Its bytes. Error: export-destination when there is none. */
  get(path: string): Promise<Readable>;
  /** Does nothing when there is none. */
  remove(path: string): Promise<void>;
  /** What is under way fails, where it would have to be waited for. */
  close(): void;
}

const schemeOf = (destination: string): string | undefined => /^([a-z][a-z0-9+.-]*):\/\//i.exec(destination)?.[1];

export const isFolder = (destination: string): boolean => schemeOf(destination) === undefined;

/** Error: export-destination. */
export async function openDestination(destination: string): Promise<Destination> {
  if (isFolder(destination)) return new LocalFolder(destination);
  if (schemeOf(destination) !== 's3') throw new TracehouseError('export-destination', `${destination} is no destination`, { mend: 'write a folder, or s3://bucket/prefix' });
  // Not the business of whoever exports something.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  // The SDK takes its time to load; who exports to folders does not wait for it.
  const { S3Store } = await import('./s3-store.ts');
  return new S3Store(destination);
}
