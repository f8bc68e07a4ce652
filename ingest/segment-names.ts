// Names of segment files carry what a start needs to know of them before opening any:
//   <level>-<from_ns>-<to_ns>-<uid>.duckdb  sealed: never altered again
//   open-<uid>.duckdb                       being written; a crash leaves it with its write-ahead log
//   temp-<uid>.duckdb                       being rewritten from sealed ones; worthless until renamed
import { randomBytes } from 'node:crypto';

export type SegmentKind = 'raw' | 'derived';
export const SEGMENT_KINDS = ['raw', 'derived'] as const satisfies readonly SegmentKind[];

export interface SealedName {
  /** 0 sealed from an open one, 1 minutes, 2 an hour, 3 a day. */
  readonly level: number;
  readonly from_ns: bigint;
  readonly to_ns: bigint;
  readonly uid: string;
}

export const newUid = (): string => randomBytes(6).toString('hex');
export const openName = (uid: string): string => `open-${uid}.duckdb`;
export const tempName = (uid: string): string => `temp-${uid}.duckdb`;
export const sealedName = (name: SealedName): string => `${name.level}-${name.from_ns}-${name.to_ns}-${name.uid}.duckdb`;

export function parseSealedName(file: string): SealedName | null {
  const match = /^(\d)-(\d+)-(\d+)-([0-9a-f]+)\.duckdb$/.exec(file);
  if (match === null) return null;
  const [, level, from, to, uid] = match as unknown as [string, string, string, string, string];
  return { level: Number(level), from_ns: BigInt(from), to_ns: BigInt(to), uid };
}

export function parseOpenName(file: string): string | null {
  return /^open-([0-9a-f]+)\.duckdb$/.exec(file)?.[1] ?? null;
}

export const isTempName = (file: string): boolean => /^temp-[0-9a-f]+\.duckdb(\.wal)?$/.test(file);
