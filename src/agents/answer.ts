import type { FastifyReply } from 'fastify'
import { type ProblemContext, problemHeaders, problemOf } from '../domain/problem.ts'
import type { Refusal } from '../domain/refusal.ts'

/** Answers a refusal as problem details (RFC 9457), as a call would be. Bytes, since to text Fastify adds a charset. */
export function answerRefusal(
  reply: FastifyReply,
  why: Refusal,
  context: ProblemContext & { readonly metadataUrl: string },
): FastifyReply {
  const problem = problemOf(why, context)
  return reply
    .code(problem.status)
    .headers(problemHeaders(why, context.metadataUrl))
    .send(Buffer.from(JSON.stringify(problem)))
}

export function answerJson(reply: FastifyReply, status: number, body: object): FastifyReply {
  return reply
    .code(status)
    .type('application/json')
    .send(Buffer.from(JSON.stringify(body)))
}
