// Where files go. What is put there appears whole or not at all, and putting it there again changes nothing.
import { TracehouseError } from '../../schema/errors.ts';
import { LocalFolder } from './local-folder.ts';

export interface Destination {
  /** Settles when the file lasts under this name. */
  put(staged: string, path: string): Promise<void>;
  /** Does nothing when there is none. */
  remove(path: string): Promise<void>;
  close(): void;
}

/** Error: export-destination. */
export async function openDestination(destination: string): Promise<Destination> {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(destination)) return new LocalFolder(destination);
  throw new TracehouseError('export-destination', `${destination} is no destination`, { mend: 'write a folder' });
}
