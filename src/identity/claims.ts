import type { Json, JsonObject } from '../domain/json.ts'
import { isCleanText } from './clean-text.ts'
import type { TokenFault } from './token-fault.ts'

/** Clocks of issuers and gateways may differ by this much. */
const LEEWAY_S = 30

/** The last moment that can be written as a date (ECMA-262, section 21.4.1.1). */
const LAST_S = 8_640_000_000_000

const MAX_SUBJECT_LENGTH = 512
const MAX_GROUPS = 1000

/** The claim at a path of names; undefined if there is none. Only own properties count. */
export function claimAt(claims: JsonObject, path: string | readonly string[]): Json | undefined {
  let value: Json | undefined = claims
  for (const name of typeof path === 'string' ? [path] : path) {
    if (!isJsonObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Checks `exp`, `nbf`, `iat` and `auth_time` (RFC 7519, section 4.1) at a moment, in seconds since the epoch. */
export function checkTimes(claims: JsonObject, nowS: number): { readonly expiresAt: number } | TokenFault {
  const { exp, nbf, iat, auth_time: authTime } = claims
  for (const time of [exp, nbf, iat, authTime]) {
    if (time !== undefined && !isNumericDate(time)) return 'bad_time'
  }
  if (!isNumericDate(exp)) return 'no_expiry'
  if (exp + LEEWAY_S <= nowS) return 'expired'
  if (isNumericDate(nbf) && nbf - LEEWAY_S > nowS) return 'not_yet_valid'
  if (isNumericDate(iat) && iat - LEEWAY_S > nowS) return 'issued_in_future'
  return { expiresAt: exp }
}

export function isNumericDate(value: Json | undefined): value is number {
  return typeof value === 'number' && value >= 0 && value <= LAST_S
}

/**
 * Checks `aud` (RFC 7519, section 4.1.3). Every audience has to be one of ours: whoever is named beside us could
 * otherwise pass the token on to us.
 */
export function checkAudience(claims: JsonObject, ours: readonly string[]): TokenFault | null {
  const { aud } = claims
  if (aud === undefined || (Array.isArray(aud) && aud.length === 0)) return 'no_audience'
  const named: readonly Json[] = Array.isArray(aud) ? aud : [aud]
  if (!named.every((name) => typeof name === 'string')) return 'bad_audience'
  const known = named.filter((name) => ours.includes(name))
  if (known.length === 0) return 'wrong_audience'
  return known.length === named.length ? null : 'mixed_audience'
}

/**
 * The subject as one text. Of several claims each part is escaped, so that no two lists of parts give the same text:
 * Entra ID's [tid, oid] becomes `tid/oid`. Null if a part is missing, or not clean text.
 */
export function subjectOf(claims: JsonObject, names: readonly string[]): string | null {
  const parts: string[] = []
  for (const name of names) {
    const part = claimAt(claims, name)
    if (!isCleanText(part, MAX_SUBJECT_LENGTH)) return null
    parts.push(names.length === 1 ? part : part.replaceAll('%', '%25').replaceAll('/', '%2F'))
  }
  return parts.join('/')
}

/**
 * The names of the groups in a claim; none if it is absent. Entra ID leaves the claim out when there are too many and
 * points to its API instead (`_claim_names`): those are no groups either, and a rule that names one does not match.
 */
export function groupNamesOf(claims: JsonObject, path: string | readonly string[]): readonly string[] | TokenFault {
  const value = claimAt(claims, path)
  if (value === undefined || value === null) return []
  if (!Array.isArray(value) || value.length > MAX_GROUPS) return 'bad_groups'
  const names: readonly Json[] = value
  return names.every((name) => isCleanText(name, MAX_SUBJECT_LENGTH)) ? names : 'bad_groups'
}

/** Whether the issuer left groups out for want of room (Entra ID's overage). */
export function hasGroupOverage(claims: JsonObject): boolean {
  return claimAt(claims, ['_claim_names', 'groups']) !== undefined || claimAt(claims, 'hasgroups') === true
}

/**
 * The OAuth clients that a token names as the one it was issued to: `azp` (OpenID Connect Core, section 2), `client_id`
 * (RFC 9068), `cid` (Okta), `appid` (Entra ID v1).
 */
export function clientsOf(claims: JsonObject): readonly string[] | TokenFault {
  const named: string[] = []
  for (const name of ['azp', 'client_id', 'cid', 'appid']) {
    const client = claimAt(claims, name)
    if (client === undefined) continue
    if (!isCleanText(client, MAX_SUBJECT_LENGTH)) return 'bad_claim'
    named.push(client)
  }
  return named
}
