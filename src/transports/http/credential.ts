import type { Credential } from '../../domain/call.ts'
import { parseQuery } from './request-target.ts'

const TOKEN_PARAMETERS = new Set(['access_token', 'id_token', 'bearer_token', 'authorization'])
const JWT = /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/

/**
 * What a client presented: `Authorization: Bearer`, the password of Basic, or `X-Api-Key` where an SDK owns
 * `Authorization`. A token in the URL is refused: it has been logged on its way.
 */
export function readCredential(own: ReadonlyMap<string, string>, query: string): Credential {
  if (query !== '' && holdsToken(query)) return { token: null, problem: 'a token must not be in the URL' }
  const authorization = own.get('authorization')
  const apiKey = own.get('x-api-key')
  if (authorization === undefined) {
    if (apiKey === undefined) return { token: null, problem: null }
    return isToken(apiKey) ? { token: apiKey, via: 'api_key' } : { token: null, problem: 'X-Api-Key is not a token' }
  }
  const space = authorization.indexOf(' ')
  const scheme = authorization.slice(0, space === -1 ? undefined : space).toLowerCase()
  const rest = space === -1 ? '' : authorization.slice(space + 1).trim()
  if (scheme !== 'bearer' && scheme !== 'basic') {
    // An SDK that signs or uses a scheme of its own has the token elsewhere.
    if (apiKey !== undefined && isToken(apiKey)) return { token: apiKey, via: 'api_key' }
    return { token: null, problem: 'Authorization is neither Bearer nor Basic' }
  }
  const token = scheme === 'bearer' ? rest : passwordOf(rest)
  if (token === null || !isToken(token)) return { token: null, problem: `Authorization: ${scheme} holds no token` }
  if (apiKey !== undefined && JWT.test(apiKey) && apiKey !== token) {
    return { token: null, problem: 'two different tokens were presented' }
  }
  return { token, via: scheme }
}

function passwordOf(encoded: string): string | null {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null
  const pair = Buffer.from(encoded, 'base64').toString('latin1')
  const colon = pair.indexOf(':')
  return colon === -1 ? null : pair.slice(colon + 1)
}

/** The syntax of a bearer token (RFC 6750, section 2.1). */
function isToken(text: string): boolean {
  return /^[A-Za-z0-9._~+/-]+=*$/.test(text)
}

function holdsToken(query: string): boolean {
  if (!/token|authorization|eyJ/i.test(query)) return false
  const pairs = parseQuery(query) ?? []
  return pairs.some(([name, value]) => TOKEN_PARAMETERS.has(name.toLowerCase()) || JWT.test(value))
}
