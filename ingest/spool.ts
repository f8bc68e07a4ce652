// Batches on disk until the warehouse has acknowledged them. The file name says what is inside, so that
// dropping one under the size limit can be counted without reading it.
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { open, rename, rm, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { TracehouseError } from '../schema/errors.ts';
import { syncPath } from './sync-path.ts';

export interface SpoolEntry {
  readonly name: string;
  readonly bytes: number;
  readonly events: number;
  /** ns since 1970 of the oldest and the newest row. */
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

/** What a file is named by. */
export interface SpoolBatch {
  readonly run_id: bigint;
  readonly sequence: bigint;
  readonly events: number;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

export interface SpooledLoss {
  readonly events: number;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
}

const NAME = /^(\d{19,20})-(\d{10})-(\d+)-(\d+)-(\d+)\.arrows(\.tmp)?$/;

export class Spool {
  readonly #folder: string;
  readonly #limit_bytes: number;
  readonly #entries: SpoolEntry[] = [];
  #bytes = 0;
  #device = 0;
  /** On its way: whether it arrives is not known. */
  #reading: SpoolEntry | undefined;

  private constructor(folder: string, limit_bytes: number) {
    this.#folder = folder;
    this.#limit_bytes = limit_bytes;
  }

  /** Opens the folder, making it when missing, and finds what an earlier run left. */
  static open(folder: string, limit_bytes: number): Spool {
    const spool = new Spool(folder, limit_bytes);
    try {
      mkdirSync(folder, { recursive: true, mode: 0o750 });
      spool.#device = statSync(folder).dev;
      for (const name of readdirSync(folder).sort()) {
        const match = NAME.exec(name);
        if (match === null) continue;
        if (match[6] !== undefined) {
          rmSync(join(folder, name), { force: true }); // a kill has cut it off
          continue;
        }
        spool.#add({ name, bytes: statSync(join(folder, name)).size, events: Number(match[3]), from_ns: BigInt(match[4] ?? 0), to_ns: BigInt(match[5] ?? 0) });
      }
    } catch (cause) {
      throw new TracehouseError('spool', `cannot use the spool folder ${folder}: ${(cause as Error).message}`, { mend: 'name a writable folder with --spool', cause });
    }
    return spool;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#entries.length;
  }

  /** The oldest entry, or undefined when all is acknowledged. */
  oldest(): SpoolEntry | undefined {
    return this.#entries[0];
  }

  /** The caller closes it. */
  read(entry: SpoolEntry): Promise<FileHandle> {
    this.#reading = entry;
    return open(join(this.#folder, entry.name), 'r');
  }

  /**
   * Stores one encoded batch, durable when it resolves. What the limit pushed out, oldest first, comes back to be counted.
   */
  async put(batch: SpoolBatch, bytes: Uint8Array): Promise<SpooledLoss | undefined> {
    const name = `${String(batch.run_id).padStart(19, '0')}-${String(batch.sequence).padStart(10, '0')}-${batch.events}-${batch.from_ns}-${batch.to_ns}.arrows`;
    const path = join(this.#folder, name);
    try {
      const file = await open(`${path}.tmp`, 'w', 0o640);
      try {
        for (let at = 0; at < bytes.byteLength; ) at += (await file.write(bytes, at)).bytesWritten;
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(`${path}.tmp`, path);
      await syncPath(this.#folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EINVAL' && error.code !== 'ENOTSUP') throw error; // not every file system syncs folders
      });
    } catch (cause) {
      await rm(`${path}.tmp`, { force: true });
      throw new TracehouseError('spool', `cannot write to the spool folder ${this.#folder}: ${(cause as Error).message}`, { mend: 'free some space, or name another folder with --spool', cause });
    }
    this.#add({ name, bytes: bytes.byteLength, events: batch.events, from_ns: batch.from_ns, to_ns: batch.to_ns });
    let lost: SpooledLoss | undefined;
    for (let entry = this.#next(); this.#bytes > this.#limit_bytes && this.#entries.length > 1 && entry !== undefined; entry = this.#next()) {
      try {
        await this.remove(entry);
      } catch (error) {
        if (lost !== undefined) break; // what has gone has to be counted; the next batch finds the limit passed again
        throw error;
      }
      lost = {
        events: (lost?.events ?? 0) + entry.events,
        from_ns: lost === undefined || entry.from_ns < lost.from_ns ? entry.from_ns : lost.from_ns,
        to_ns: lost === undefined || entry.to_ns > lost.to_ns ? entry.to_ns : lost.to_ns,
      };
    }
    return lost;
  }

  /** False: somebody else is about it, or was. From the beginning on nobody meets it any more; if it cannot be deleted it is there again. */
  async remove(entry: SpoolEntry): Promise<boolean> {
    const at = this.#entries.indexOf(entry);
    if (at < 0) return false;
    this.#entries.splice(at, 1);
    this.#bytes -= entry.bytes;
    try {
      await unlink(join(this.#folder, entry.name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
      const place = this.#entries.findIndex(({ name }) => name > entry.name);
      this.#entries.splice(place < 0 ? this.#entries.length : place, 0, entry);
      this.#bytes += entry.bytes;
      throw error;
    }
    return true;
  }

  /** The folder is not there, or it is that of another disk: unmounted, or renamed for a moment. What is in it has not gone. */
  get isAway(): boolean {
    try {
      return statSync(this.#folder).dev !== this.#device;
    } catch {
      return true;
    }
  }

  /** The folder is there and the file is not: a folder that has only just come back has it. */
  isGone(entry: SpoolEntry): boolean {
    return !this.isAway && !existsSync(join(this.#folder, entry.name));
  }

  /** To go: the oldest but for the one on its way, which would be counted as lost and may arrive. */
  #next(): SpoolEntry | undefined {
    return this.#entries.find((entry) => entry !== this.#reading);
  }

  #add(entry: SpoolEntry): void {
    if (this.#entries.at(-1)?.name === entry.name) return; // put again: what it pushed out could not be removed
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
  }
}
