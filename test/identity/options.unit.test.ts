import { describe, expect, it } from 'vitest'
import { issuerName } from '../../src/identity/issuer-name.ts'
import { agentIssuerOptions, peopleIssuerOptions } from '../../src/identity/options.ts'

const agent = { issuer: 'https://idp.example.com', audiences: ['https://gateway.example.com'], owner: 'none' }
const person = {
  issuer: 'https://idp.example.com',
  audience: 'countersign-console',
  client_id: 'countersign-console',
  authorized_parties: ['countersign-console'],
}

describe('agentIssuerOptions', () => {
  it('takes what the contract shows', () => {
    const parsed = agentIssuerOptions.parse({
      ...agent,
      algorithms: ['RS256', 'ES256', 'EdDSA'],
      subject: ['sub'],
      groups: { claim: 'groups' },
      acts_for: { claim: 'act' },
      owner: { claim: 'owner' },
    })
    expect(parsed.acts_for).toEqual({ claim: 'act' })
  })

  it('pins algorithms and names subjects by sub if nothing is said', () => {
    expect(agentIssuerOptions.parse(agent)).toMatchObject({ algorithms: ['RS256', 'ES256', 'EdDSA'], subject: ['sub'] })
  })

  it.each([
    ['no owner', { owner: undefined }],
    ['no audience', { audiences: [] }],
    ['an unknown key', { audience: 'x' }],
    ['the algorithm none', { algorithms: ['none'] }],
    ['a symmetric algorithm', { algorithms: ['HS256'] }],
    ['no algorithm', { algorithms: [] }],
    ['http off loopback', { issuer: 'http://idp.example.com' }],
    ['http to a host that only begins like loopback', { issuer: 'http://127.0.0.1.example.com' }],
    ['an issuer with a query', { issuer: 'https://idp.example.com?x' }],
    ['an issuer with credentials', { issuer: 'https://user@idp.example.com' }],
    ['an issuer with a bar', { issuer: 'https://idp.example.com/a|b' }],
    ['an issuer that is no URL', { issuer: 'idp' }],
    ['a jwks_uri over http', { jwks_uri: 'http://idp.example.com/keys' }],
    ['an owner by e-mail address', { owner: { map: { agent: 'alice@example.com' } } }],
    ['an owner that is some other word', { owner: 'nobody' }],
    ['groups from nowhere', { groups: {} }],
    ['groups of a name alone', { groups: { map: { alice: ['finance'] } } }],
    ['a name with a slash', { name: 'a/b' }],
    ['a certificate that is a path', { ca: '/etc/ssl/ca.pem' }],
    ['an empty subject list', { subject: [] }],
  ])('refuses %s', (_, change) => {
    expect(agentIssuerOptions.safeParse({ ...agent, ...change }).success).toBe(false)
  })

  it.each(['http://127.0.0.1:4444', 'http://localhost:4444/realms/a', 'http://[::1]:4444'])('takes %s', (issuer) => {
    expect(agentIssuerOptions.safeParse({ ...agent, issuer }).success).toBe(true)
  })
})

describe('peopleIssuerOptions', () => {
  it('takes what the contract shows', () => {
    const roles = { admin: ['group:platform'], auditor: ['group:audit'], operator: ['group:sre'] }
    expect(peopleIssuerOptions.parse({ ...person, groups: { claim: 'groups' }, roles }).roles).toEqual(roles)
  })

  it('gives nobody a role if nothing is said', () => {
    expect(peopleIssuerOptions.parse(person).roles).toEqual({ admin: [], auditor: [], operator: [] })
  })

  it.each([
    ['no client', { client_id: undefined }],
    ['no authorized party', { authorized_parties: [] }],
    ['a role that is not given by configuration', { roles: { owner: ['group:x'] } }],
    ['everybody as admin', { roles: { admin: ['*'] } }],
    ['a role for a bare name', { roles: { auditor: ['alice'] } }],
    ['a sign-in that asks nobody', { sign_in: { browser_parameters: { prompt: 'none' } } }],
    ['claims that are no JSON', { sign_in: { browser_parameters: { claims: 'auth_time' } } }],
    ['claims that are a list', { sign_in: { browser_parameters: { claims: '["auth_time"]' } } }],
    ['an access type that there is not', { sign_in: { browser_parameters: { access_type: 'always' } } }],
  ])('refuses %s', (_, change) => {
    expect(peopleIssuerOptions.safeParse({ ...person, ...change }).success).toBe(false)
  })

  it.each([
    'state',
    'nonce',
    'code_challenge',
    'code_challenge_method',
    'redirect_uri',
    'client_id',
    'scope',
    'response_type',
    'response_mode',
    'max_age',
    'request',
    'request_uri',
    'id_token_hint',
  ])('refuses a %s of a sign-in that somebody chose', (name) => {
    const sign_in = { browser_parameters: { [name]: 'x' } }
    expect(peopleIssuerOptions.safeParse({ ...person, sign_in }).success).toBe(false)
  })
})

describe('issuerName', () => {
  it('is the host, with its port, unless a name is given', () => {
    expect(issuerName({ issuer: 'https://idp.example.com/realms/a' })).toBe('idp.example.com')
    expect(issuerName({ issuer: 'http://127.0.0.1:4444' })).toBe('127.0.0.1:4444')
    expect(issuerName({ issuer: 'https://idp.example.com', name: 'okta' })).toBe('okta')
  })
})
