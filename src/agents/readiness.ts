import type { Readiness } from './desk.ts'

const CHECK_TIMEOUT_MS = 2_000
const FRESH_MS = 1_000

export interface ReadinessReport {
  readonly ready: boolean
  /** By name, whether it is well; nothing else of it is told. */
  readonly checks: Readonly<Record<string, boolean>>
}

/**
 * Asks each check, at most once a second however many ask: anyone may, and a check may cost a round trip to the store.
 */
export function createReadiness(
  checks: readonly Readiness[],
  monotonicMs: () => number,
): () => Promise<ReadinessReport> {
  let latest: { readonly at: number; readonly report: Promise<ReadinessReport> } | null = null
  return () => {
    const at = monotonicMs()
    if (latest === null || at - latest.at >= FRESH_MS) latest = { at, report: askAll(checks) }
    return latest.report
  }
}

async function askAll(checks: readonly Readiness[]): Promise<ReadinessReport> {
  const answers = await Promise.all(checks.map(async (check) => [check.name, await ask(check)] as const))
  return { ready: answers.every(([, isOk]) => isOk), checks: Object.fromEntries(answers) }
}

/** A check that does not answer is not well. */
async function ask(check: Readiness): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), CHECK_TIMEOUT_MS)
  try {
    return await Promise.race([Promise.resolve(check.isOk()), late])
  } catch {
    // Why it is not well is its owner's to log.
    return false
  } finally {
    clearTimeout(timer)
  }
}
