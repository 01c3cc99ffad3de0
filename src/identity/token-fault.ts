import { type Refusal, refuse } from '../domain/refusal.ts'

/**
 * Why a credential is not accepted. The words are fixed, so that nothing of a token is ever echoed, and plain enough
 * for `error_description` (RFC 6750, section 3, allows neither quotes nor backslashes).
 */
const FAULTS = {
  missing: 'no token was presented',
  too_long: 'the token is longer than 8 KiB',
  not_a_jws: 'the token is not a signed JWT of three base64url parts',
  encrypted: 'the token is encrypted (JWE); a signed token is needed',
  bad_header: 'the header of the token is not one JSON object that reads the same everywhere',
  bad_payload: 'the payload of the token is not one JSON object that reads the same everywhere',
  nested: 'the token nests another one (cty)',
  foreign_key: 'the token brings or points to its own key (jku, jwk, x5u, x5c)',
  critical_header: 'the token uses header extensions (crit, b64) that are not supported',
  bad_typ: 'the token has a typ that is not accepted here',
  bad_alg: 'the token is signed with an algorithm that its issuer is not configured for',
  no_kid: 'the token does not say which key signed it (kid)',
  unknown_kid: 'the issuer has no such key (kid)',
  bad_signature: 'the signature of the token does not verify',
  no_issuer: 'the token has no iss',
  unknown_issuer: 'the issuer of the token is not known here; it is compared exactly',
  keys_unavailable: 'the keys of the issuer cannot be had now',
  bad_time: 'a time in the token (exp, nbf, iat, auth_time) is not a number',
  no_expiry: 'the token has no exp',
  expired: 'the token has expired',
  not_yet_valid: 'the token is not valid yet (nbf)',
  issued_in_future: 'the token was issued in the future (iat)',
  no_audience: 'the token has no audience',
  bad_audience: 'the aud of the token is neither a string nor a list of strings',
  wrong_audience: 'the token is meant for another audience',
  mixed_audience: 'the token is meant for other audiences as well',
  bad_subject: 'the subject of the token is missing or not clean text',
  bad_claim: 'a claim of the token has a type or a text that is not accepted',
  requirement: 'a claim of the token does not have the value that is required of its issuer',
  bound: 'the token is bound to a key (cnf) and no proof of it can be accepted here',
  unexpected_actor: 'the token names an actor (act) and its issuer is not configured for delegation',
  bad_actor: 'an actor of the token cannot be resolved to issuer and subject',
  too_many_actors: 'the token has more than five actors',
  bad_groups: 'the groups of the token are not a list of at most 1000 clean texts',
  bad_owner: 'the owner of the agent cannot be resolved to issuer and subject',
  agent: 'an agent may not act as a person',
  wrong_party: 'the token was issued to a client through which people do not sign in here',
} as const satisfies Record<string, string>

export type TokenFault = keyof typeof FAULTS

/** Seconds until keys that could not be fetched may be there. */
const KEYS_RETRY_S = 5

/** The refusal of a token, with its challenge (RFC 6750, section 3.1: without credentials there is no error code). */
export function refuseToken(fault: TokenFault): Refusal {
  const description = FAULTS[fault]
  if (fault === 'keys_unavailable') {
    return refuse('unavailable', `Not executed. Try again later: ${description}.`, { retryAfterS: KEYS_RETRY_S })
  }
  const advice = fault === 'missing' ? 'A bearer token is needed' : 'The token was not accepted'
  return refuse('unauthenticated', `Not executed. ${advice}: ${description}.`, {
    challenge: { error: fault === 'missing' ? null : 'invalid_token', description },
  })
}

/** The refusal of a credential that was presented in a way that leaves open which one is meant, or that leaks it. */
export function refusePresentation(problem: string): Refusal {
  const description = problem.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, ' ').slice(0, 200)
  return refuse('unauthenticated', `Not executed. The credentials were not accepted: ${description}.`, {
    challenge: { error: 'invalid_request', description },
  })
}
