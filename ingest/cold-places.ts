// Where an exported file can be read: in its own folder, or as a copy in DATA/cold-cache.
import { createHash } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ColdFile } from './export-ledger.ts';

export interface ColdPlacesOptions {
  /** Of the data. */
  readonly folder: string;
  readonly read_only: boolean;
  /** Folders besides the data folder that DuckDB may read; it can be told no others after its start. */
  readonly reachable: readonly string[];
  readonly log: (line: string) => void;
}

/** Looked for at the same time, in the background. */
const AT_ONCE = 16;

export const isRemote = ({ destination }: ColdFile): boolean => !destination.startsWith('/');
export const sourceOf = ({ destination, path }: ColdFile): string => `${destination}/${path}`;

/** DuckDB opens files to make a view of them: one that was cut short, or whose disk or folder cannot be looked at, would keep all from being made. */
function isWhole(path: string, bytes: number): boolean {
  try {
    return statSync(path).size === bytes;
  } catch {
    return false;
  }
}

/** The same file of the same place has the same name. */
const localName = (file: ColdFile): string => `${createHash('sha256').update(sourceOf(file)).digest('hex').slice(0, 32)}.parquet`;

export class ColdPlaces {
  readonly cache_folder: string;
  readonly #options: ColdPlacesOptions;
  readonly #names = new Map<string, string>();
  readonly #cached = new Set<string>();
  readonly #used = new Map<string, number>();
  /** Of folders, by source: where it is read; null: it cannot be. */
  readonly #found = new Map<string, { readonly path: string | null; readonly bytes: number }>();
  readonly #complained = new Set<string>();
  #uses = 0;
  #version = 0;

  constructor(options: ColdPlacesOptions) {
    this.#options = options;
    this.cache_folder = join(options.folder, 'cold-cache');
    // Names of an earlier start: DuckDB reaches those folders themselves by now.
    if (!options.read_only) rmSync(join(options.folder, 'cold'), { recursive: true, force: true });
    if (existsSync(this.cache_folder)) for (const name of readdirSync(this.cache_folder)) if (name.endsWith('.parquet')) this.#cached.add(name);
  }

  /** Another number when pathOf may answer something else. */
  get version(): number {
    return this.#version;
  }

  nameOf(file: ColdFile): string {
    const source = sourceOf(file);
    const known = this.#names.get(source);
    if (known !== undefined) return known;
    const name = localName(file);
    this.#names.set(source, name);
    return name;
  }

  cachePath(file: ColdFile): string {
    return join(this.cache_folder, this.nameOf(file));
  }

  /** Where DuckDB can read it; null when it cannot. */
  pathOf(file: ColdFile): string | null {
    if (this.#cached.has(this.nameOf(file))) return this.cachePath(file);
    if (isRemote(file)) return null;
    const source = sourceOf(file);
    let found = this.#found.get(source);
    if (found === undefined) {
      found = { path: this.#find(file), bytes: Number(file.bytes) };
      this.#found.set(source, found);
    }
    return found.path;
  }

  #find(file: ColdFile): string | null {
    const { folder, reachable } = this.#options;
    const path = sourceOf(file);
    if (!isWhole(path, Number(file.bytes))) return this.#unreadable(path, existsSync(path) ? `it no longer has the ${file.bytes} bytes that were written` : 'it is not there');
    if (path.startsWith(`${folder}/`) || reachable.includes(file.destination)) return path;
    // The export is younger than this process: until the next start the file has a second name in the data folder.
    const own = join(folder, 'cold', this.nameOf(file));
    try {
      if (!existsSync(own)) {
        mkdirSync(join(folder, 'cold'), { recursive: true });
        linkSync(path, own);
      }
      return own;
    } catch (error) {
      return this.#unreadable(path, `it can be read after the next start (${(error as Error).message})`);
    }
  }

  #unreadable(path: string, why: string): null {
    if (!this.#complained.has(path)) this.#options.log(`rows that were exported to ${path} are left out of answers: ${why}`);
    this.#complained.add(path);
    return null;
  }

  /** Forgets where those were found that are there no longer. */
  lookFor(files: readonly ColdFile[]): void {
    for (const file of files) {
      const found = this.#found.get(sourceOf(file));
      if (typeof found?.path === 'string' && !isWhole(found.path, found.bytes)) this.#forget(sourceOf(file));
    }
  }

  #forget(source: string): void {
    this.#found.delete(source);
    this.#version += 1;
  }

  /** Files that came, went or came back in folders since they were looked for. */
  async lookAgain(): Promise<void> {
    const known = [...this.#found];
    for (let at = 0; at < known.length; at += AT_ONCE) {
      await Promise.all(
        known.slice(at, at + AT_ONCE).map(async ([source, { path, bytes }]) => {
          const is_there = await stat(source).then(({ size }) => size === bytes, () => false);
          if (is_there === (path !== null)) return;
          this.#forget(source);
        }),
      );
    }
  }

  /** A whole copy is at cachePath. */
  arrived(file: ColdFile): void {
    this.#cached.add(this.nameOf(file));
    this.used([file]);
    this.#version += 1;
  }

  /** The copy of that name is about to go. */
  leaving(name: string): void {
    this.#cached.delete(name);
    this.#used.delete(name);
    this.#version += 1;
  }

  used(files: readonly ColdFile[]): void {
    for (const file of files) this.#used.set(this.nameOf(file), (this.#uses += 1));
  }

  /** Names of the copies, the one that was used longest ago first. */
  get copies(): string[] {
    return [...this.#cached].toSorted((a, b) => (this.#used.get(a) ?? 0) - (this.#used.get(b) ?? 0));
  }
}
