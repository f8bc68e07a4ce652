// The calls and requests of one service as arrays: numbers stand for requests, calls, operations and callees.

export interface Problem {
  readonly operations: number;
  readonly callees: number;
  /** Times in ticks since the first of them; an end that is not known yet is Infinity. In order of start. */
  readonly request_start: Float64Array;
  readonly request_end: Float64Array;
  readonly request_operation: Int32Array;
  readonly call_start: Float64Array;
  readonly call_end: Float64Array;
  readonly call_callee: Int32Array;
  /** The candidates of call i: offsets[i] to offsets[i + 1] of the two below. */
  readonly offsets: Int32Array;
  readonly candidates: Int32Array;
  /** Natural logarithm of what other evidence says for it. */
  readonly evidence: Float64Array;
}
