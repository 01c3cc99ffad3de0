import { type CryptoKey, importJWK, type JWK } from 'jose'
import { z } from 'zod'
import { GatewayError } from '../domain/error.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { KeyHint } from './header.ts'
import type { TokenFault } from './token-fault.ts'

/** When keys are fetched, and for how long they are good; milliseconds. */
export interface KeyTiming {
  /** Between two refreshes in the background. */
  readonly refreshMs: number
  /** Between any two fetches once there are keys, however many unknown keys are asked for. */
  readonly cooldownMs: number
  /** How long the last keys are used while the issuer cannot be reached. */
  readonly keepMs: number
  /** The first wait after a failed first fetch; doubled up to the cooldown. */
  readonly retryMs: number
}

const KEY_TIMING: KeyTiming = { refreshMs: 600_000, cooldownMs: 30_000, keepMs: 3_600_000, retryMs: 1_000 }

/** The keys of one issuer. */
export interface KeySet {
  find(hint: KeyHint): Promise<CryptoKey | TokenFault>
  /** Changes whenever the keys do: what was verified with older keys has to be verified again. */
  generation(): number
  /** Whether the keys are there, and not too old. */
  isUsable(): boolean
  /** Waits for the fetch under way, if there is one; never throws. The fault of the last fetch, null if it went well. */
  settled(): Promise<GatewayError | null>
  close(): void
}

const keySetShape = z.object({ keys: z.array(z.looseObject({})).max(100) })

// Private members (`d`) in a public set mean a leaked key, and a symmetric key is no key to verify with.
const keyShape = z.looseObject({
  kty: z.enum(['RSA', 'EC', 'OKP']),
  kid: z.string().min(1).max(256),
  use: z.literal('sig').optional(),
  key_ops: z
    .array(z.string())
    .refine((operations) => operations.includes('verify'))
    .optional(),
  alg: z.string().optional(),
  d: z.never().optional(),
})
type PublicKey = z.output<typeof keyShape>

/**
 * Keeps the keys of one issuer, fetched at once and refreshed in the background. Fetches never overlap; tokens with
 * an unknown key wait for the one under way, or cause one if the last is a cooldown ago. Without keys, tokens are
 * refused at once, so that an issuer which is down delays nobody.
 */
export function createKeySet(options: {
  /** Fetches the key set (RFC 7517, section 5) as parsed JSON; throws `GatewayError`. */
  load: (signal: AbortSignal) => Promise<unknown>
  issuer: string
  clock: Clock
  log: Logger
  timing?: Partial<KeyTiming>
}): KeySet {
  const { load, issuer, clock, log } = options
  const timing = { ...KEY_TIMING, ...options.timing }
  const stop = new AbortController()
  let keys: readonly PublicKey[] = []
  let imported = new Map<string, Promise<CryptoKey | null>>()
  let generation = 0
  let loadedAt: number | null = null
  let attemptedAt = Number.NEGATIVE_INFINITY
  let failures = 0
  let lastFault: GatewayError | null = null
  let fetching: Promise<void> | null = null
  let timer: NodeJS.Timeout | null = null

  function isUsable(): boolean {
    return loadedAt !== null && clock.monotonic() - loadedAt < timing.keepMs
  }

  function fetchOnce(): Promise<void> {
    fetching ??= fetchKeys().finally(() => {
      fetching = null
      schedule()
    })
    return fetching
  }

  async function fetchKeys(): Promise<void> {
    attemptedAt = clock.monotonic()
    try {
      take(readKeys(await load(stop.signal)))
    } catch (error) {
      if (stop.signal.aborted) return
      failures += 1
      lastFault = error instanceof GatewayError ? error : new GatewayError('upstream', 'no key set', { cause: error })
      log.warn({ issuer, failures, isUsable: isUsable(), err: lastFault }, 'the keys of an issuer could not be fetched')
    }
  }

  function take(fetched: readonly PublicKey[]): void {
    if (JSON.stringify(fetched) !== JSON.stringify(keys)) {
      keys = fetched
      imported = new Map()
      generation += 1
    }
    if (failures > 0) log.info({ issuer }, 'the keys of an issuer can be fetched again')
    loadedAt = attemptedAt
    failures = 0
    lastFault = null
  }

  function schedule(): void {
    if (stop.signal.aborted) return
    if (timer) clearTimeout(timer)
    timer = setTimeout(() => void fetchOnce(), waitMs())
    timer.unref()
  }

  function waitMs(): number {
    if (failures === 0) return timing.refreshMs
    return isUsable() ? timing.cooldownMs : Math.min(timing.retryMs * 2 ** (failures - 1), timing.cooldownMs)
  }

  async function find(hint: KeyHint): Promise<CryptoKey | TokenFault> {
    if (!isUsable() && fetching) await fetching
    if (!isUsable()) return 'keys_unavailable'
    const known = await pick(hint)
    if (known) return known
    const mayFetch = fetching !== null || clock.monotonic() - attemptedAt >= timing.cooldownMs
    if (!mayFetch || stop.signal.aborted) return 'unknown_kid'
    await fetchOnce()
    return (await pick(hint)) ?? 'unknown_kid'
  }

  function pick({ alg, kid }: KeyHint): Promise<CryptoKey | null> {
    const matches = keys.filter((key) => key.kid === kid && (key.alg === undefined || key.alg === alg))
    const [key] = matches
    // Two keys of one name: which of them is meant cannot be told.
    if (!key || matches.length > 1) return Promise.resolve(null)
    const name = `${alg} ${kid}`
    const present = imported.get(name)
    if (present) return present
    const importing = importKey(key, alg)
    imported.set(name, importing)
    return importing
  }

  void fetchOnce()

  return {
    find,
    generation: () => generation,
    isUsable,
    async settled() {
      await fetching
      return lastFault
    },
    close() {
      stop.abort()
      if (timer) clearTimeout(timer)
    },
  }
}

function readKeys(fetched: unknown): readonly PublicKey[] {
  const parsed = keySetShape.safeParse(fetched)
  if (!parsed.success) throw new GatewayError('upstream', 'what the issuer published is no key set')
  // Keys for other purposes, and of kinds that are not known here, stand beside ours in many sets.
  return parsed.data.keys.flatMap((key) => keyShape.safeParse(key).data ?? [])
}

/** Null if the key is not one of this algorithm. */
async function importKey(key: PublicKey, alg: string): Promise<CryptoKey | null> {
  try {
    // The shape says which members there are; whether they make a key is for the import to find out.
    const made = await importJWK(key as unknown as JWK, alg)
    return made instanceof Uint8Array ? null : made
  } catch {
    return null
  }
}
