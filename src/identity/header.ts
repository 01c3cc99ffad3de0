import type { JsonObject } from '../domain/json.ts'
import { isCleanText } from './clean-text.ts'
import type { TokenFault } from './token-fault.ts'

/** What an issuer's tokens look like. */
export interface HeaderRules {
  readonly algorithms: readonly string[]
  readonly typ?: string | undefined
}

/** What is left of a header once it is checked: which key to verify with, and how. */
export interface KeyHint {
  readonly alg: string
  readonly kid: string
}

// Other kinds of JWT from the same issuer (logout, DPoP proofs, security events) say so here: RFC 8725, section 3.11.
const COMMON_TYPES = ['jwt', 'at+jwt']

/**
 * Checks a header before its signature. A token that brings its own key, or has the reader do something that the
 * verifier does not do, is refused. So is one without `kid`, even if its issuer has only one key: which key signed it
 * would depend on when the key set was read.
 */
export function checkHeader(header: JsonObject, rules: HeaderRules): KeyHint | TokenFault {
  const { alg, kid, typ, cty } = header
  if (['jku', 'jwk', 'x5u', 'x5c'].some((name) => Object.hasOwn(header, name))) return 'foreign_key'
  if (['crit', 'b64'].some((name) => Object.hasOwn(header, name))) return 'critical_header'
  if (['enc', 'zip'].some((name) => Object.hasOwn(header, name))) return 'encrypted'
  if (cty !== undefined) return 'nested'
  if (typeof alg !== 'string' || !rules.algorithms.includes(alg)) return 'bad_alg'
  if (!isAcceptedType(typ, rules.typ)) return 'bad_typ'
  if (kid === undefined) return 'no_kid'
  return isCleanText(kid, 256) ? { alg, kid } : 'unknown_kid'
}

/** Types compare without regard to case, and `application/` may be left out (RFC 7515, section 4.1.9). */
function isAcceptedType(typ: unknown, wanted: string | undefined): boolean {
  if (typ === undefined) return wanted === undefined
  if (typeof typ !== 'string') return false
  const short = (name: string) => name.toLowerCase().replace(/^application\//, '')
  return wanted === undefined ? COMMON_TYPES.includes(short(typ)) : short(typ) === short(wanted)
}
