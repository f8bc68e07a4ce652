// Every error leaves as application/problem+json (RFC 9457) with a stable code.
import { STATUS_CODES } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { blankSecrets } from './access/blank-secrets.ts';
import type { ProblemDetails } from './describe-error.ts';

export const PROBLEM_TYPE = 'application/problem+json';

export const Problem = Type.Object(
  {
    type: Type.String({ description: 'urn:tracehouse:problem: and the code', examples: ['urn:tracehouse:problem:trace-not-found'] }),
    title: Type.String({ description: 'the status in words' }),
    status: Type.Integer({ description: 'HTTP status' }),
    code: Type.String({ description: 'stable, for programs', examples: ['trace-not-found'] }),
    detail: Type.String({ description: 'what is wrong, for people' }),
    mend: Type.Optional(Type.String({ description: 'what would make it right' })),
    instance: Type.String({ description: 'path of the request' }),
    request_id: Type.String({ description: 'of this request: also in x-request-id and in the log' }),
  },
  { $id: 'Problem', title: 'Problem', additionalProperties: true, description: 'RFC 9457 problem' },
);

export function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: ProblemDetails): FastifyReply {
  request.problem_code = problem.code;
  if ((problem.status === 429 || problem.status === 503) && !reply.hasHeader('retry-after')) reply.header('retry-after', '1');
  // Serialized here: a route's own schemas do not know which of its statuses this is.
  return reply
    .code(problem.status)
    .header('content-type', PROBLEM_TYPE)
    .serializer((body: unknown) => JSON.stringify(body))
    .send({
      type: `urn:tracehouse:problem:${problem.code}`,
      title: STATUS_CODES[problem.status] ?? 'Error',
      status: problem.status,
      code: problem.code,
      detail: problem.detail,
      ...(problem.mend === undefined ? {} : { mend: problem.mend }),
      instance: blankSecrets(request.url.split('?', 1)[0] ?? ''),
      request_id: request.id,
      ...problem.more,
    });
}

const PROBLEM_TEXTS = {
  400: 'the request is not understood', 401: 'a token is needed', 403: 'refused', 404: 'there is no such thing', 406: 'no such format', 408: 'no answer within the time limit', 409: 'something else is in the way', 413: 'the body is too large',
  415: 'content type or encoding is not taken', 422: 'understood, but cannot be processed', 429: 'too many at once: try again', 503: 'not ready', 507: 'the disk is full',
} as const;

/** For a route's schema.response: these statuses answer with a problem. */
export function problems<const S extends keyof typeof PROBLEM_TEXTS>(...statuses: S[]): Record<S, ReturnType<typeof problemResponse>> {
  return Object.fromEntries(statuses.map((status) => [status, problemResponse(PROBLEM_TEXTS[status])])) as Record<S, ReturnType<typeof problemResponse>>;
}

function problemResponse(description: string) {
  return { description, content: { [PROBLEM_TYPE]: { schema: Type.Ref('Problem#') } } };
}
