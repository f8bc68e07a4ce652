// JSON Schema for what recurs in requests and answers.
import { Type } from 'typebox';
import { TracehouseError } from '../schema/errors.ts';
import type { TString, TUnsafe } from 'typebox';

/** As text: JSON readers make doubles of numbers, which hold 53 bits. */
export const Int64 = (description: string, example = '1500000'): TString => Type.String({ pattern: '^-?[0-9]+$', description: `${description} (64-bit integer, as text)`, examples: [example] });
export const NullableText = (description: string): TUnsafe<string | null> => Type.Unsafe<string | null>({ type: ['string', 'null'], description });
export const NullableInt64 = (description: string): TUnsafe<string | null> => NullableText(`${description} (64-bit integer, as text)`);
export const NullableInteger = (description: string): TUnsafe<number | null> => Type.Unsafe<number | null>({ type: ['integer', 'null'], description });
export const NullableNumber = (description: string): TUnsafe<number | null> => Type.Unsafe<number | null>({ type: ['number', 'null'], description });
export const Time = (description: string): TString => Type.String({ description: `${description}; RFC 3339, nanoseconds`, examples: ['2026-01-31T12:00:00.123456789Z'] });
export const Count = (description: string) => Type.Integer({ minimum: 0, description });

export const TraceId = (description = 'trace id: 32 hex digits, the first 16 of them its start time'): TString =>
  Type.String({ pattern: '^[0-9a-fA-F]{32}$', description, examples: ['18b0c6a27b4d3c00023f9a1b7c6d5e4f'] });
export const SpanId = (description: string): TString => Type.String({ pattern: '^[0-7][0-9a-f]{15}$', description, examples: ['023f9a1b7c6d5e4f'] });

const [LEAST_INT64, MOST_INT64] = [-(2n ** 63n), 2n ** 63n - 1n];

/** Of a text of digits, as Int64 takes them. Error: invalid-request, naming the field. */
export function readInt64(field: string, text: string): bigint {
  const value = BigInt(text);
  if (value < LEAST_INT64 || value > MOST_INT64) throw new TracehouseError('invalid-request', `${field}: ${text} is beyond 64 bits`, { mend: `give at most ${MOST_INT64}` });
  return value;
}

export const int64 = (value: bigint): string => String(value);
export const nullableInt64 = (value: bigint | null): string | null => (value === null ? null : String(value));
