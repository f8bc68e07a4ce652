// What holds for the answer to any request whatever.
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'vitest';
import { PROBLEM_TYPE, Problem } from '../../api/problem.ts';
import type { RawAnswer, RawRequest } from './raw-client.ts';

const isProblem = new Ajv2020({ strict: false }).compile({ ...Problem, $id: 'fuzz-problem' });
const UNAVAILABLE = [503, 507];
const STACK = /\n\s+at |node_modules|\.[jt]s:\d+|node:internal/;

export interface AnswerRules {
  /** Beyond these an answer of the server may not be at fault. */
  readonly documented: ReadonlySet<number>;
  readonly is_foreign: boolean;
  /** Folders that nobody outside has to know of. */
  readonly secret_paths: readonly string[];
}

export function expectGoodAnswer(request: RawRequest, answer: RawAnswer, { documented, is_foreign, secret_paths }: AnswerRules): void {
  const said = answer.body.toString();
  const where = `${request.method} ${request.target.slice(0, 300)} ${request.body.toString().slice(0, 300)} -> ${answer.status} ${said.slice(0, 500)}`;
  // Who sends more than it takes may meet a closed connection, the answer lost with it.
  if (answer.status === 0) expect(request.body.length, where).toBeGreaterThan(64 * 1024);
  if (answer.status < 400) return;
  // An Expect that it does not know: Node.js answers by itself, without a body.
  if (answer.status === 417 && said === '') return;
  if (answer.status >= 500) expect(UNAVAILABLE.filter((status) => documented.has(status)), where).toContain(answer.status);
  expect(STACK.test(said), where).toBe(false);
  for (const path of secret_paths) expect(said, where).not.toContain(path);
  if (is_foreign && answer.headers.get('content-type') !== PROBLEM_TYPE) return;
  expect(answer.headers.get('content-type'), where).toBe(PROBLEM_TYPE);
  const problem = JSON.parse(said) as { status: number };
  expect(isProblem(problem), `${where} ${JSON.stringify(isProblem.errors)}`).toBe(true);
  expect(problem.status, where).toBe(answer.status);
}
