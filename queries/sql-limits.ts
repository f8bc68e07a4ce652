/** What a statement of a stranger may take. */
export interface SqlLimits {
  /** The most that a caller may ask for. */
  readonly timeout_ms: number;
  readonly max_rows: number;
  /** Statements that run at the same time. */
  readonly at_once: number;
}

/** When the caller does not say. */
export const SQL_DEFAULTS = { timeout_ms: 10_000, max_rows: 10_000 } as const;
export const SQL_LIMITS: SqlLimits = { timeout_ms: 60_000, max_rows: 5_000_000, at_once: 4 };
