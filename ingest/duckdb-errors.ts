import { TracehouseError } from '../schema/errors.ts';

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** DuckDB gives up on everything it has open, after a sync that failed and the like: nothing but another instance helps. */
export const isFatal = (error: unknown): boolean => messageOf(error).startsWith('FATAL Error: ');

/** DuckDB gives up on an attached file that it could not checkpoint: nothing but attaching it again helps, from its write-ahead log. */
export const isInvalidated = (error: unknown): boolean => /has been invalidated/i.test(messageOf(error)) && !isFatal(error);

/** The same of the ledger, which all views name: it is attached at the start alone. */
const isLedgerInvalidated = (error: unknown): boolean => isInvalidated(error) && /\bdatabase "ledger"/i.test(messageOf(error));

/** Nothing can be read or written any more in this instance. */
export const isBroken = (error: unknown): boolean => isFatal(error) || isLedgerInvalidated(error);

/** A text for which an ENUM of up to 255 values has no number. */
export const isNotEnumerated = (error: unknown): boolean => /^Conversion Error: [^]*\bUINT8\b/.test(messageOf(error));

/** ATTACH of a file that was detached while somebody used it. */
export const isStillHeld = (error: unknown): boolean => /unique file handle conflict/i.test(messageOf(error));

export const isDiskFull = (error: unknown): boolean => /no space left|ENOSPC|disk full|disk quota/i.test(messageOf(error));

/** COMMIT puts its own kind before what happened. */
export const isOutOfMemory = (error: unknown): boolean => /^(Out of Memory Error|TransactionContext Error: Failed to commit: (could not allocate|failed to (allocate|pin|offload)))/.test(messageOf(error));

/** CHECKPOINT gives up on the file or on everything, whatever it lacked. */
export const isOutOfMemoryAtCheckpoint = (error: unknown): boolean => /checkpoint[^]*(Out of Memory|could not allocate|failed to (allocate|pin|offload))/i.test(messageOf(error));

/** What a person should read of an error of storage; errors that already say so pass unchanged. */
export function storageError(error: unknown, folder: string): TracehouseError {
  if (error instanceof TracehouseError) return error;
  const message = messageOf(error);
  if (isBroken(error)) {
    const first = /Original error: "?(.*?)"?$/m.exec(message)?.[1] ?? message.split('\n')[0]?.replace('FATAL Error: ', '');
    return new TracehouseError('warehouse-broken', `DuckDB gave up on ${folder} (${first})`, {
      mend: 'see to the disk it lies on (dmesg says more) and start again: what was acknowledged is stored',
      cause: error,
    });
  }
  if (isDiskFull(error)) {
    return new TracehouseError('disk-full', `no space left for ${folder}`, { mend: 'free some space or lower the retention; batches are taken again as soon as there is room', cause: error });
  }
  const holder = /could not set lock|conflicting lock/i.test(message) ? (/PID (\d+)/i.exec(message)?.[1] ?? '') : null;
  if (holder !== null) {
    return new TracehouseError('warehouse-locked', `${folder} is in use by ${holder === '' ? 'another process' : `process ${holder}`}`, {
      mend: 'stop that process, or ask it through its own address (--url, or --data while it runs)',
      cause: error,
    });
  }
  if (/newer version of DuckDB|is not compatible|different storage version/i.test(message)) {
    return new TracehouseError('warehouse-version', `${folder} was written by a newer version`, { mend: 'update tracehouse', cause: error });
  }
  if (/permission denied|read-only file system/i.test(message)) {
    return new TracehouseError('warehouse-unwritable', `no permission to write to ${folder}`, { mend: 'choose another --data folder or change its owner', cause: error });
  }
  return new TracehouseError('storage-failed', `storage failed: ${message.split('\n')[0]}`, { cause: error });
}

/** CHECKPOINT while a transaction that wrote to the same database is not over. */
export function isBusy(error: unknown): boolean {
  return /other write transactions active/.test((error as Error).message);
}
