// What routes in another tool's words have in common: nothing is refused for being unknown, errors have that tool's shape.
import { Type } from 'typebox';
import type { TSchema } from 'typebox';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { App } from './app-type.ts';
import { ClientError } from './client-error.ts';
import { describeError } from './describe-error.ts';

export const JSON_TYPE = 'application/json';

export function sendJson(reply: FastifyReply, body: unknown, status = 200): FastifyReply {
  return reply.code(status).header('content-type', `${JSON_TYPE}; charset=utf-8`).serializer((value: unknown) => JSON.stringify(value)).send(body);
}

export interface ErrorShape {
  readonly content_type: string;
  body(status: number, message: string): unknown;
}

/** Its schemas describe and do not judge: each parameter is read by hand, as that tool reads it. */
export function speakAs(scope: FastifyInstance, { content_type, body }: ErrorShape): App {
  scope.setValidatorCompiler(() => () => true);
  scope.setErrorHandler((error, _request, reply) => {
    const status = error instanceof ClientError ? error.status : describeError(error).code === 'trace-not-found' ? 404 : undefined;
    if (status === undefined) throw error;
    const message = error instanceof ClientError ? error.message : 'trace not found';
    const answer = body(status, message);
    return reply.code(status).header('content-type', content_type).serializer((value: unknown) => (typeof value === 'string' ? value : JSON.stringify(value))).send(answer);
  });
  return scope.withTypeProvider();
}

export const text = (description: string, example: string) => Type.Optional(Type.String({ description, examples: [example] }));
export const needed = (description: string, example: string) => Type.String({ description, examples: [example] });

/** For schema.response. */
export const answers = (content_type: string, description: string, schema: TSchema) => ({ description, content: { [content_type]: { schema } } });
