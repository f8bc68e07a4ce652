// DATA/tokens.json: who may ask for what. Secrets are 256 random bits, of which only the SHA-256 is kept (docs/adr/0012). The
// file is written whole and renamed, and looked at again with every request: a change holds at once, without a restart.
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { join } from 'node:path';
import { TracehouseError } from '../../schema/errors.ts';
import type { Scope } from './scopes.ts';

export interface TokenSecret {
  readonly sha256: string;
  readonly created_ms: number;
  readonly expires_ms: number | null;
}

export interface Token {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Newest last; the ones before are valid until they expire. */
  readonly secrets: readonly TokenSecret[];
}

const VERSION = 1;
const LOCK_TRIES = 40;

export const hashSecret = (secret: string): string => createHash('sha256').update(secret).digest('hex');

export class TokenFile {
  readonly path: string;
  readonly #folder: string;
  readonly #now_ms: () => number;
  #seen = '';
  #tokens: readonly Token[] = [];

  constructor(folder: string, now_ms: () => number = Date.now) {
    this.#folder = folder;
    this.path = join(folder, 'tokens.json');
    this.#now_ms = now_ms;
  }

  /** As the file has them now. Error: tokens-damaged. */
  all(): readonly Token[] {
    const found = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    const state = found === undefined ? 'none' : `${found.ino} ${found.mtimeNs} ${found.size}`;
    if (state !== this.#seen) {
      this.#tokens = found === undefined ? [] : this.#read();
      this.#seen = state;
    }
    return this.#tokens;
  }

  #read(): readonly Token[] {
    try {
      const { version, tokens } = JSON.parse(readFileSync(this.path, 'utf8')) as { version: number; tokens: Token[] };
      if (version !== VERSION || !Array.isArray(tokens)) throw new Error(`its version is ${version}`);
      return tokens;
    } catch (error) {
      throw new TracehouseError('tokens-damaged', `tokens.json of the data folder cannot be read: ${(error as Error).message}`, { mend: 'mend it, or move it away and create the tokens anew', cause: error });
    }
  }

  /** Tokens that somebody could use now. */
  get valid(): number {
    return this.all().filter(({ secrets }) => secrets.some((secret) => this.#isValid(secret))).length;
  }

  #isValid({ expires_ms }: TokenSecret): boolean {
    return expires_ms === null || expires_ms > this.#now_ms();
  }

  /** Whose secret this is. How long it takes says nothing about those that are stored. Error: tokens-damaged. */
  find(secret: string): Token | undefined {
    const given = createHash('sha256').update(secret).digest();
    let found: Token | undefined;
    for (const token of this.all()) {
      for (const one of token.secrets) {
        const stored = Buffer.from(one.sha256, 'hex');
        if (stored.length === given.length && timingSafeEqual(stored, given) && this.#isValid(one)) found = token;
      }
    }
    return found;
  }

  /** Settles when the change is on disk. Errors: tokens-damaged, tokens-busy. */
  async change(make: (tokens: readonly Token[]) => readonly Token[]): Promise<void> {
    const partial = `${this.path}.part`;
    const handle = await this.#lock(partial);
    try {
      await handle.writeFile(`${JSON.stringify({ version: VERSION, tokens: make(this.all()) }, null, 1)}\n`);
      await handle.sync();
      await rename(partial, this.path);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    const folder = await open(this.#folder, 'r');
    await folder.sync().finally(() => folder.close());
  }

  /** The unfinished file is the lock: two that change at once would lose one change. */
  async #lock(partial: string): Promise<Awaited<ReturnType<typeof open>>> {
    for (let tried = 1; ; tried += 1) {
      try {
        return await open(partial, 'wx', 0o600);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        if (tried === LOCK_TRIES) throw new TracehouseError('tokens-busy', `${partial} is there: somebody else changes the tokens`, { mend: 'remove it if no other `tracehouse token` runs', cause: error });
        await pause(50);
      }
    }
  }
}
