import { describe, expect, it } from 'vitest'
import { agentIssuerOptions } from '../../src/identity/options.ts'
import { knownIssuers, principalOf } from '../../src/identity/principal-of.ts'

const A = 'https://a.example.com'
const B = 'https://b.example.com'

function principal(map: Record<string, string>, actor: object) {
  const options = agentIssuerOptions.parse({
    issuer: A,
    audiences: ['gateway'],
    acts_for: { claim: 'act', issuer: A },
    owner: { map },
  })
  const other = agentIssuerOptions.parse({ issuer: B, audiences: ['gateway'], owner: 'none' })
  return principalOf(
    { claims: { iss: A, sub: 'alice', act: { ...actor } }, expiresAt: 1 },
    options,
    knownIssuers([options, other]),
  )
}

describe('the owner of an actor of another issuer', () => {
  it('is not the one of an agent here that has the same name', () => {
    const map = { bot: `${A}|olivia` }
    expect(principal(map, { sub: 'bot' })).toMatchObject({ owner: { issuer: A, subject: 'olivia' } })
    expect(principal(map, { iss: B, sub: 'bot' })).toBe('bad_owner')
    expect(principal({ ...map, [`${B}|bot`]: `${B}|pia` }, { iss: B, sub: 'bot' })).toMatchObject({
      owner: { issuer: B, subject: 'pia' },
    })
  })
})
