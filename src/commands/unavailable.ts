import { GatewayError } from '../domain/error.ts'
import { type Refusal, refuse } from '../domain/refusal.ts'
import type { Logger } from '../platform/logger.ts'

/** What fails because the store does is a refusal: nothing was forwarded yet. */
export function orUnavailable<Given extends readonly unknown[], Result>(
  log: Logger,
  work: (...given: Given) => Promise<Result>,
): (...given: Given) => Promise<Result | Refusal> {
  return async (...given) => {
    try {
      return await work(...given)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      log.error({ err: error }, 'a call is refused because of the store')
      return refuse('unavailable', 'Not executed. The gateway cannot reach its store; try again.', { retryAfterS: 2 })
    }
  }
}
