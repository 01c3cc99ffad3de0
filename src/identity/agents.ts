import type { Credential } from '../domain/call.ts'
import type { Principal } from '../domain/principal.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { hasGroupOverage } from './claims.ts'
import type { KeySet } from './key-set.ts'
import type { AgentIssuer, PeopleIssuer } from './options.ts'
import { knownIssuers, principalOf } from './principal-of.ts'
import { refusePresentation, refuseToken, type TokenFault } from './token-fault.ts'
import { type TrustTiming, trustIssuers } from './trust.ts'
import { createVerifiedCache, digestToken } from './verified-cache.ts'
import { type Verified, verifyToken } from './verify.ts'

const MAX_CACHED = 10_000
/** A verified token is believed for this long at most, so that a withdrawn key ends what was signed with it. */
const MAX_AGE_MS = 300_000

export interface Agents {
  /** Who presents this credential. Never throws; the same token is verified once at a time and then remembered. */
  identify(credential: Credential): Promise<Principal | Refusal>
  /** Waits until each issuer was asked once (five seconds or so); what is wrong with the configuration, a sentence each. */
  probe(): Promise<readonly string[]>
  close(): Promise<void>
}

interface Remembered {
  readonly principal: Principal
  /** Milliseconds since the epoch. */
  readonly endsAt: number
  /** On the monotonic clock, in milliseconds. */
  readonly staleAt: number
  readonly keys: KeySet
  readonly generation: number
}

/** Identifies agents by the tokens of `issuers`. Owners and actors may also be named by the issuers of `people`. */
export function createAgents(options: {
  issuers: readonly AgentIssuer[]
  people: readonly PeopleIssuer[]
  clock: Clock
  log: Logger
  metrics: { readonly tokensRefused: { inc(labels: { reason: string }): void } }
  timing?: TrustTiming
}): Agents {
  const { issuers, people, clock, log, metrics, timing } = options
  const trust = trustIssuers(issuers, { clock, log, timing })
  const known = knownIssuers([...issuers, ...people])
  const remembered = createVerifiedCache<Remembered>(MAX_CACHED)
  const underWay = new Map<string, Promise<Principal | TokenFault>>()
  const overageSeen = new Set<string>()

  async function identify(credential: Credential): Promise<Principal | Refusal> {
    if ('proven' in credential) return credential.proven
    if (credential.token === null) {
      metrics.tokensRefused.inc({ reason: credential.problem === null ? 'missing' : 'presentation' })
      return credential.problem === null ? refuseToken('missing') : refusePresentation(credential.problem)
    }
    const digest = digestToken(credential.token)
    const principal = recall(digest) ?? (await verifyOnce(credential.token, digest))
    if (typeof principal !== 'string') return principal
    metrics.tokensRefused.inc({ reason: principal })
    return refuseToken(principal)
  }

  function recall(digest: string): Principal | null {
    const found = remembered.get(digest)
    if (!found) return null
    const isCurrent = found.generation === found.keys.generation() && found.keys.isUsable()
    if (isCurrent && clock.now() < found.endsAt && clock.monotonic() < found.staleAt) return found.principal
    remembered.delete(digest)
    return null
  }

  function verifyOnce(token: string, digest: string): Promise<Principal | TokenFault> {
    const present = underWay.get(digest)
    if (present) return present
    const verifying = verify(token, digest).finally(() => underWay.delete(digest))
    underWay.set(digest, verifying)
    return verifying
  }

  async function verify(token: string, digest: string): Promise<Principal | TokenFault> {
    const how = { trust, audiencesOf: ({ audiences }: AgentIssuer) => audiences, nowS: clock.now() / 1000 }
    const verified = await verifyToken(token, how)
    if (typeof verified === 'string') return verified
    const principal = principalOf(verified, verified.issuer.options, known)
    if (typeof principal === 'string') return principal
    noteOverage(verified)
    remembered.set(digest, {
      principal,
      endsAt: principal.expiresAt * 1000,
      staleAt: clock.monotonic() + MAX_AGE_MS,
      keys: verified.issuer.keys,
      generation: verified.generation,
    })
    return principal
  }

  function noteOverage({ issuer, claims }: Verified<AgentIssuer>): void {
    const name = issuer.options.issuer
    if (!issuer.options.groups?.claim || overageSeen.has(name) || !hasGroupOverage(claims)) return
    overageSeen.add(name)
    log.warn({ issuer: name }, 'an issuer leaves groups out of tokens for want of room; such tokens have no groups')
  }

  return { identify, probe: trust.probe, close: trust.close }
}
