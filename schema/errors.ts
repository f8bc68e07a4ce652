/** An error that a person reads: what is wrong, and what mends it. */
export class TracehouseError extends Error {
  /** Stable, kebab-case: shown in problem+json and in logs. */
  readonly code: string;
  readonly mend: string | undefined;
  /** Of the command line: 1 failed, 2 usage. */
  readonly exit_code: 1 | 2;

  constructor(code: string, message: string, options: { mend?: string; exit_code?: 1 | 2; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'TracehouseError';
    this.code = code;
    this.mend = options.mend;
    this.exit_code = options.exit_code ?? 1;
  }
}
