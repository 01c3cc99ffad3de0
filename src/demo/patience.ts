import { setTimeout as sleep } from 'node:timers/promises'

const PATIENCE_MS = 60_000
const PAUSE_MS = 1_000

/**
 * Asks again while the gateway cannot decide, as it says itself (503): it may be a while until it has the keys of an
 * identity provider that started after it.
 */
export async function untilAvailable<Answer extends { readonly status: number }>(
  ask: () => Promise<Answer>,
  signal: AbortSignal,
): Promise<Answer> {
  for (const deadline = performance.now() + PATIENCE_MS; ; ) {
    const answer = await ask()
    if (answer.status !== 503 || performance.now() > deadline) return answer
    await sleep(PAUSE_MS, undefined, { signal })
  }
}
