import { compactVerify } from 'jose'
import type { JsonObject } from '../domain/json.ts'
import { checkAudience, checkTimes, claimAt } from './claims.ts'
import { checkHeader } from './header.ts'
import { parseJws } from './jws.ts'
import type { IssuerOptions } from './options.ts'
import type { TokenFault } from './token-fault.ts'
import type { Trust, Trusted } from './trust.ts'

/** A token whose signature, issuer, audience and times are right, and which nobody has to prove a key for. */
export interface Verified<Options extends IssuerOptions> {
  readonly issuer: Trusted<Options>
  readonly claims: JsonObject
  readonly typ: string | null
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** The generation of the keys it was verified with. */
  readonly generation: number
}

/**
 * Verifies a token (RFC 7519, section 7.2; RFC 8725). Everything that needs no key is checked first, so that what is
 * hopeless costs neither a signature check nor a fetch.
 */
export async function verifyToken<Options extends IssuerOptions>(
  token: string,
  how: { trust: Trust<Options>; audiencesOf: (options: Options) => readonly string[]; nowS: number },
): Promise<Verified<Options> | TokenFault> {
  const jws = parseJws(token)
  if (typeof jws === 'string') return jws
  const { header, claims } = jws

  if (claims['iss'] === undefined) return 'no_issuer'
  const issuer = typeof claims['iss'] === 'string' ? how.trust.find(claims['iss']) : null
  if (!issuer) return 'unknown_issuer'
  const hint = checkHeader(header, issuer.options)
  if (typeof hint === 'string') return hint
  const audienceFault = checkAudience(claims, how.audiencesOf(issuer.options))
  if (audienceFault) return audienceFault
  const times = checkTimes(claims, how.nowS)
  if (typeof times === 'string') return times
  if (claims['cnf'] !== undefined) return 'bound'
  if (!hasRequired(claims, issuer.options.require)) return 'requirement'

  const key = await issuer.keys.find(hint)
  if (typeof key === 'string') return key
  const generation = issuer.keys.generation()
  try {
    await compactVerify(token, key, { algorithms: [hint.alg] })
  } catch {
    // The library says in many ways that a signature is not one by this key; all of them are this one refusal.
    return 'bad_signature'
  }
  const typ = typeof header['typ'] === 'string' ? header['typ'].toLowerCase() : null
  return { issuer, claims, typ, expiresAt: times.expiresAt, generation }
}

function hasRequired(claims: JsonObject, required: IssuerOptions['require'] = {}): boolean {
  return Object.entries(required).every(([name, value]) => claimAt(claims, name) === value)
}
