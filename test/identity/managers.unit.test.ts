import { describe, expect, it } from 'vitest'
import { checkIssuers } from '../../src/identity/check-issuers.ts'
import { createManagers } from '../../src/identity/managers.ts'
import { peopleIssuerOptions } from '../../src/identity/options.ts'

const IDP = 'https://idp.example.com'

function people(managers: Record<string, string>, issuer = IDP) {
  return peopleIssuerOptions.parse({
    issuer,
    name: new URL(issuer).hostname,
    audience: 'console',
    client_id: 'console',
    authorized_parties: ['console'],
    managers,
  })
}

describe('managers', () => {
  it('are those of the issuer that knows the person', () => {
    const managerOf = createManagers([people({ carol: `${IDP}|mona` })])
    expect(managerOf({ issuer: IDP, subject: 'carol' })).toEqual({ issuer: IDP, subject: 'mona' })
    expect(managerOf({ issuer: IDP, subject: 'mona' })).toBeNull()
    expect(managerOf({ issuer: IDP, subject: 'constructor' })).toBeNull()
    expect(managerOf({ issuer: 'https://other.example', subject: 'carol' })).toBeNull()
  })

  it.each([
    ['of an issuer that no people sign in with', { carol: 'https://other.example|mona' }, /of no people issuer/],
    ['the person themselves', { carol: `${IDP}|carol` }, /is the same person/],
  ])('are refused: %s', (_why, managers, fault) => {
    expect(checkIssuers([], [people(managers)])).toEqual([expect.stringMatching(fault)])
  })

  it('may be of another people issuer', () => {
    const other = 'https://other.example'
    expect(checkIssuers([], [people({ carol: `${other}|mona` }), people({}, other)])).toEqual([])
  })
})
