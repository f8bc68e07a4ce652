// DATA/audit/audit.ndjson: who asked for what, a line each. A full file is put aside; the oldest of those go.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { blankSecrets } from './blank-secrets.ts';

export type AuditAction = 'sql' | 'export' | 'correlate' | 'ingest' | 'admin' | 'token' | 'refused';

export interface AuditEntry {
  /** RFC 3339 */
  readonly time: string;
  readonly action: AuditAction;
  readonly request_id?: string;
  /** Its name; null: none was given, or none that is valid. */
  readonly token: string | null;
  /** Of the caller; 'socket': over the socket file, 'command line': without a server. */
  readonly address: string | null;
  readonly method?: string;
  /** Without its query. */
  readonly path?: string;
  readonly sql?: string;
  readonly sql_sha256?: string;
  readonly detail?: string;
  readonly duration_ms?: number;
  readonly rows?: number;
  readonly status?: number;
  readonly outcome: 'ok' | 'failed' | 'refused' | 'broken_off';
  readonly code?: string;
  /** This line stands for so many requests like it. */
  readonly requests?: number;
}

export interface AuditOptions {
  readonly folder: string;
  readonly log: (line: string) => void;
  readonly sql?: 'text' | 'hash';
  /** Of one file, and of how many files. */
  readonly most_bytes?: number;
  readonly most_files?: number;
}

const MOST_BYTES = 16 * 1024 * 1024;
const MOST_FILES = 8;
const MOST_TEXT = 10_000;
const CURRENT = 'audit.ndjson';
const PUT_ASIDE = /^audit-[\dTZ]+-\d+\.ndjson$/;

export const auditFolder = (data_folder: string): string => join(data_folder, 'audit');

/** Oldest first. */
export function auditFiles(data_folder: string): string[] {
  const folder = auditFolder(data_folder);
  const names = readdirSync(folder);
  return [...names.filter((name) => PUT_ASIDE.test(name)).toSorted(), ...names.filter((name) => name === CURRENT)].map((name) => join(folder, name));
}

const cut = (text: string): string => (text.length <= MOST_TEXT ? text : `${text.slice(0, MOST_TEXT)}… (${text.length} characters)`);

export class AuditLog {
  /** Lines that could not be written since the start. */
  failed = 0;
  readonly #options: AuditOptions;
  readonly #path: string;
  #file: number | undefined;
  #failing = false;
  #turned = 0;

  constructor(options: AuditOptions) {
    this.#options = options;
    this.#path = join(auditFolder(options.folder), CURRENT);
  }

  /** Never throws: what cannot be written is counted, and told when it begins. */
  write(entry: AuditEntry): void {
    try {
      this.#append(Buffer.from(`${JSON.stringify(this.#shaped(entry))}\n`));
      this.#failing = false;
    } catch (error) {
      this.failed += 1;
      if (!this.#failing) this.#options.log(`the audit log ${this.#path} cannot be written: ${(error as Error).message}`);
      this.#failing = true;
      this.close();
    }
  }

  #shaped({ sql, detail, path, ...rest }: AuditEntry): AuditEntry {
    return {
      ...rest,
      ...(path === undefined ? {} : { path: cut(blankSecrets(path)) }),
      ...(detail === undefined ? {} : { detail: cut(blankSecrets(detail)) }),
      ...(sql === undefined ? {} : this.#options.sql === 'hash' ? { sql_sha256: createHash('sha256').update(sql).digest('hex') } : { sql: cut(blankSecrets(sql)) }),
    };
  }

  #append(line: Buffer): void {
    this.#file ??= this.#open();
    const { size, nlink } = fstatSync(this.#file);
    // Removed or moved by somebody: it must not go on where nobody looks.
    if (nlink === 0) this.close();
    else if (size > 0 && size + line.byteLength > (this.#options.most_bytes ?? MOST_BYTES)) this.#putAside();
    this.#file ??= this.#open();
    if (writeSync(this.#file, line) < line.byteLength) throw new Error('it was cut off');
  }

  #open(): number {
    mkdirSync(auditFolder(this.#options.folder), { recursive: true, mode: 0o700 });
    return openSync(this.#path, 'a', 0o600);
  }

  #putAside(): void {
    this.close();
    this.#turned += 1;
    const time = new Date().toISOString().replaceAll(/[-:.]/g, '');
    renameSync(this.#path, join(auditFolder(this.#options.folder), `audit-${time}-${String(this.#turned).padStart(6, '0')}.ndjson`));
    const old = auditFiles(this.#options.folder);
    for (const path of old.slice(0, Math.max(0, old.length - (this.#options.most_files ?? MOST_FILES) + 1))) rmSync(path, { force: true });
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
