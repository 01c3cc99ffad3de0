import { pino } from 'pino'
import { createAgents } from '../../src/identity/agents.ts'
import { agentIssuerOptions, type PeopleIssuer, peopleIssuerOptions } from '../../src/identity/options.ts'
import type { TrustTiming } from '../../src/identity/trust.ts'
import type { Clock } from '../../src/platform/clock.ts'
import type { Logger } from '../../src/platform/logger.ts'

export const silentLog = pino({ level: 'silent' })

/** A clock that stands still until it is moved. */
export interface TestClock extends Clock {
  advance(ms: number): void
}

export function makeClock(startMs = Date.now()): TestClock {
  let passedMs = 0
  return {
    now: () => startMs + passedMs,
    monotonic: () => passedMs,
    advance: (ms) => {
      passedMs += ms
    },
  }
}

/** Metrics that only remember what they were told. */
export function makeMetrics(): { reasons: string[]; tokensRefused: { inc(labels: { reason: string }): void } } {
  const reasons: string[] = []
  return { reasons, tokensRefused: { inc: ({ reason }) => void reasons.push(reason) } }
}

/** Agents of issuers given as configuration would have them. */
export function makeAgents(options: {
  issuers: readonly unknown[]
  people?: readonly unknown[]
  clock?: Clock
  metrics?: ReturnType<typeof makeMetrics>
  timing?: TrustTiming
  log?: Logger
}) {
  return createAgents({
    issuers: options.issuers.map((issuer) => agentIssuerOptions.parse(issuer)),
    people: (options.people ?? []).map((issuer): PeopleIssuer => peopleIssuerOptions.parse(issuer)),
    clock: options.clock ?? makeClock(),
    log: options.log ?? silentLog,
    metrics: options.metrics ?? makeMetrics(),
    timing: options.timing ?? {},
  })
}

export function bearer(token: string) {
  return { token, via: 'bearer' } as const
}
