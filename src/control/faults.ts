import type { FastifyInstance, FastifyReply } from 'fastify'
import { GatewayError } from '../domain/error.ts'
import { PROBLEM_MEDIA_TYPE } from '../domain/problem.ts'
import type { Logger } from '../platform/logger.ts'
import { type ControlRefusal, controlProblem, refuseAs } from './problem.ts'

/** Answers everything that goes wrong as problem details; only what nobody expected is logged, and never shown. */
export function answerFaults(app: FastifyInstance, log: Logger): void {
  app.setErrorHandler((error, _request, reply) => answer(reply, refusalFor(error, log)))
  app.setNotFoundHandler((_request, reply) => answer(reply, refuseAs('not_found', 'There is nothing here.')))
}

export function answer(reply: FastifyReply, refusal: ControlRefusal): FastifyReply {
  const body = controlProblem(refusal)
  return reply
    .code(body.status)
    .headers(refusal.headers)
    .type(PROBLEM_MEDIA_TYPE)
    .send(Buffer.from(JSON.stringify(body)))
}

export function refusalFor(error: unknown, log: Logger): ControlRefusal {
  if (error instanceof GatewayError && (error.code === 'store' || error.code === 'audit')) {
    log.error({ event: 'control_unavailable', err: error }, 'a request could not be answered')
    return refuseAs('unavailable', 'Nothing was done. Try again.', { 'retry-after': '5' })
  }
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : 500
  if (status === 413) return refuseAs('too_large', 'The body is larger than any vote needs.')
  if (status === 415) return refuseAs('unreadable', 'Send the body as application/json.')
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return refuseAs('malformed', 'The request could not be read.')
  }
  log.error({ event: 'control_failed', err: error }, 'a request failed')
  return refuseAs('internal', 'Something went wrong; the log says what.')
}
