import { createReadStream, existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { auditFiles, auditFolder } from '../api/access/audit-log.ts';
import type { AuditEntry } from '../api/access/audit-log.ts';
import { printable } from '../api/cli/terminal-text.ts';
import { TracehouseError } from '../schema/errors.ts';

export interface AuditOptions {
  readonly data: string;
  readonly since?: bigint;
  readonly json?: boolean;
}

/** A line that is not whole, as after a power cut, is skipped and told. */
function parsed(line: string): AuditEntry | undefined {
  try {
    return JSON.parse(line) as AuditEntry;
  } catch {
    return undefined;
  }
}

export function renderEntry({ time, outcome, code, token, address, action, sql, sql_sha256, detail, method, path, duration_ms, rows, requests }: AuditEntry): string {
  const what = sql ?? (sql_sha256 === undefined ? detail : `sha256 ${sql_sha256}`) ?? `${method} ${path}`;
  const numbers = [duration_ms === undefined ? '' : `${duration_ms} ms`, rows === undefined ? '' : `${rows} rows`, requests === undefined ? '' : `${requests} more like it`].filter((text) => text !== '');
  return printable([time, outcome === 'ok' ? 'ok' : `${outcome}${code === undefined ? '' : ` ${code}`}`, action, `${token ?? '-'}@${address ?? '-'}`, ...numbers, what.replaceAll(/\s+/g, ' ')].join('  '));
}

/** `audit`: who asked for what, oldest first. */
export async function audit(options: AuditOptions): Promise<void> {
  if (!existsSync(auditFolder(options.data))) throw new TracehouseError('audit', `there is no audit log in ${options.data}`, { mend: 'name the data folder with --data; `up` and `serve` write one' });
  const since = options.since === undefined ? '' : new Date(Number(options.since / 1_000_000n)).toISOString();
  let broken = 0;
  for (const path of auditFiles(options.data)) {
    for await (const line of createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Infinity })) {
      const entry = parsed(line);
      if (entry === undefined) broken += 1;
      else if (entry.time >= since) console.log(options.json === true ? line : renderEntry(entry));
    }
  }
  if (broken > 0) console.error(`tracehouse: ${broken} lines are not whole and were left out`);
}
