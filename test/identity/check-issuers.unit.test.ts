import { describe, expect, it } from 'vitest'
import { checkIssuers } from '../../src/identity/check-issuers.ts'
import { agentIssuerOptions, peopleIssuerOptions } from '../../src/identity/options.ts'

const IDP = 'https://idp.example.com'
const ENTRA = 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0'

function agent(change: object = {}) {
  return agentIssuerOptions.parse({ issuer: IDP, audiences: ['https://gateway'], owner: 'none', ...change })
}

function people(change: object = {}) {
  return peopleIssuerOptions.parse({
    issuer: IDP,
    audience: 'console',
    client_id: 'console',
    authorized_parties: ['console'],
    ...change,
  })
}

describe('checkIssuers', () => {
  it('finds nothing wrong with issuers that are kept apart', () => {
    const all = [agent({ acts_for: { claim: 'act' }, owner: { map: { bot: `${IDP}|alice` } } })]
    expect(checkIssuers(all, [people()])).toEqual([])
  })

  it.each([
    [
      'an audience for agents and people',
      [agent({ audiences: ['https://gateway', 'console'] })],
      [people()],
      /audience/,
    ],
    [
      'an audience of another issuer’s agents for people',
      [agent(), agent({ issuer: 'https://other.example', audiences: ['console'] })],
      [people()],
      /audience console/,
    ],
    [
      'the sign-in’s client as an audience of agents',
      [agent({ audiences: ['console'] })],
      [people({ audience: 'approvals' })],
      /client_id/,
    ],
    [
      'a sign-in that is not an authorized party',
      [agent()],
      [people({ authorized_parties: ['cli'] })],
      /authorized_parties/,
    ],
    ['agents’ issuer twice', [agent(), agent({ audiences: ['https://b'] })], [people()], /twice/],
    ['a people issuer twice', [agent()], [people(), people()], /twice/],
    [
      'one name for two issuers',
      [agent({ issuer: `${IDP}/realms/a` }), agent({ issuer: `${IDP}/realms/b` })],
      [],
      /set another name/,
    ],
    ['Entra ID by sub', [agent({ issuer: ENTRA })], [people()], /tid, oid/],
    ['Entra ID by oid alone', [agent({ issuer: ENTRA, subject: ['oid'] })], [people()], /tid, oid/],
    ['people of Entra ID by sub', [agent()], [people({ issuer: ENTRA })], /tid, oid/],
    [
      'Entra ID v1 by sub',
      [agent({ issuer: 'https://sts.windows.net/11111111-2222-3333-4444-555555555555/' })],
      [],
      /tid, oid/,
    ],
    ['agents of an issuer open to anybody', [agent({ issuer: 'https://accounts.google.com' })], [people()], /anybody/],
    ['people of an issuer open to anybody', [agent()], [people({ issuer: 'https://accounts.google.com' })], /anybody/],
    [
      'an owner of an unknown issuer',
      [agent({ owner: { map: { bot: 'https://idp.example.org|alice' } } })],
      [people()],
      /owner of bot/,
    ],
    [
      'delegation by an issuer whose people are no reviewers',
      [agent({ issuer: 'https://sts.example', acts_for: { claim: 'act' } })],
      [people()],
      /acts_for\.issuer/,
    ],
    [
      'delegation for people of an unknown issuer',
      [agent({ acts_for: { claim: 'act', issuer: 'https://idp.example.org' } })],
      [people()],
      /acts_for\.issuer/,
    ],
    [
      'delegation that names people by another claim than they review under',
      [agent({ acts_for: { claim: 'act' } })],
      [people({ subject: ['uid'] })],
      /subject differs/,
    ],
    [
      'groups for people of another issuer',
      [agent()],
      [people({ groups: { map: { 'https://idp.example.org|alice': ['finance'] } } })],
      /another issuer/,
    ],
  ] as const)('finds %s', (_, agents, persons, message) => {
    const faults = checkIssuers(agents, persons)
    expect(faults).toHaveLength(1)
    expect(faults[0]).toMatch(message)
  })

  it('takes Entra ID by tid and oid', () => {
    const subject = ['tid', 'oid']
    expect(checkIssuers([agent({ issuer: ENTRA, subject })], [people({ issuer: ENTRA, subject })])).toEqual([])
  })

  it('takes an open issuer whose agents are listed, or must be of one organisation', () => {
    const issuer = 'https://token.actions.githubusercontent.com'
    const listed = agent({ issuer, owner: { map: { 'repo:acme/infra:environment:prod': `${IDP}|olivia` } } })
    expect(checkIssuers([listed], [people()])).toEqual([])
    expect(checkIssuers([agent({ issuer, require: { repository_owner_id: '1' } })], [people()])).toEqual([])
  })

  it('takes a delegation whose people are named to be of the reviewers’ issuer', () => {
    const sts = agent({ issuer: 'https://sts.example', subject: ['uid'], acts_for: { claim: 'act', issuer: IDP } })
    expect(checkIssuers([sts], [people()])).toEqual([])
  })
})
