import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkIssuers } from '../../src/identity/check-issuers.ts'
import { peopleIssuerOptions } from '../../src/identity/options.ts'
import { createPeople, type People } from '../../src/identity/people.ts'
import { makeKey, sign, startIssuer, type TestIssuer, type TestKey } from './issuer.ts'
import { makeClock, silentLog } from './parts.ts'

const nowS = 1_800_000_000
const clock = makeClock(nowS * 1000)
const CONSOLE = 'countersign-console'

let key: TestKey
let issuer: TestIssuer
let people: People

beforeAll(async () => {
  key = await makeKey('ES256', 'k1')
  issuer = await startIssuer([key.jwk])
  people = makePeople()
  expect(await people.probe()).toEqual([])
})

afterAll(async () => {
  await people.close()
  await issuer.close()
})

function makePeople(change: object = {}): People {
  const options = peopleIssuerOptions.parse({
    issuer: issuer.url,
    name: 'idp',
    audience: 'https://approvals.example.com',
    client_id: CONSOLE,
    authorized_parties: [CONSOLE, 'countersign-cli'],
    groups: { claim: 'groups', map: { [`${issuer.url}|finn`]: ['finance'] } },
    roles: { admin: ['group:idp/platform'], auditor: ['group:audit', `${issuer.url}|aud`], operator: ['group:sre'] },
    ...change,
  })
  expect(checkIssuers([], [options])).toEqual([])
  return createPeople({ issuers: [options], clock, log: silentLog })
}

function claims(change: Record<string, unknown> = {}): Record<string, unknown> {
  const times = { exp: nowS + 300, iat: nowS, auth_time: nowS - 5 }
  return { iss: issuer.url, sub: 'finn', aud: 'https://approvals.example.com', azp: CONSOLE, ...times, ...change }
}

const identify = async (change: Record<string, unknown> = {}, header = {}) => {
  return await people.identify(await sign(key, claims(change), header), 'vote')
}

describe('a person’s own token', () => {
  it('identifies a reviewer', async () => {
    expect(await identify({ name: 'Finn from finance' })).toEqual({
      issuer: issuer.url,
      subject: 'finn',
      name: 'Finn from finance',
      groups: [{ issuerName: 'idp', name: 'finance' }],
      roles: ['reviewer'],
      assurance: 'oidc',
      authenticatedAt: nowS - 5,
    })
  })

  it.each([
    ['platform', ['reviewer', 'admin']],
    ['audit', ['reviewer', 'auditor']],
    ['sre', ['reviewer', 'operator']],
    ['finance', ['reviewer']],
  ])('gives group %s the roles %j', async (group, roles) => {
    expect(await identify({ sub: 'someone', groups: [group] })).toMatchObject({ roles })
  })

  it('gives a named person a role', async () => {
    expect(await identify({ sub: 'aud' })).toMatchObject({ roles: ['reviewer', 'auditor'] })
  })

  it('adds the groups of the configuration to those of the token, once each', async () => {
    expect(await identify({ groups: ['support', 'finance'] })).toMatchObject({
      groups: [{ name: 'support' }, { name: 'finance' }],
    })
  })

  it.each([
    ['an access token of the command line’s client', { azp: undefined, client_id: 'countersign-cli', scope: 'openid' }],
    ['an ID token with azp', { aud: CONSOLE }],
    ['an ID token without azp, by its nonce', { aud: CONSOLE, azp: undefined, auth_time: undefined, nonce: 'n' }],
    ['an ID token without azp, by the time of its sign-in', { aud: [CONSOLE], azp: undefined }],
  ])('may be %s', async (_, change) => expect(await identify(change)).toMatchObject({ subject: 'finn' }))

  it('has no name that would break a screen', async () => {
    expect(await identify({ name: 'a\u0007', preferred_username: 'finn' })).toMatchObject({ name: 'finn' })
    expect(await identify({ name: 7 })).toMatchObject({ name: null })
  })
})

describe('what is not a person’s own token is refused:', () => {
  it.each([
    ['an agent that acts for the person', { act: { sub: 'agent' } }, /act as a person/],
    ['an actor that is null', { act: null }, /act as a person/],
    ['a client’s own, by its subject', { sub: CONSOLE }, /act as a person/],
    ['a client’s own, by its audience', { azp: undefined, aud: CONSOLE, sub: CONSOLE, nonce: 'n' }, /act as a person/],
    ['a client’s own, by client_id', { azp: undefined, client_id: 'x', sub: 'x' }, /act as a person/],
    ['an application’s (idtyp)', { idtyp: 'app' }, /act as a person/],
    ['an application’s, whose oid is its sub', { oid: 'finn' }, /act as a person/],
    ['one of client credentials (gty)', { gty: 'client-credentials' }, /act as a person/],
    ['one of client credentials, by its subject', { sub: `${CONSOLE}@clients` }, /act as a person/],
    ['a service account’s', { preferred_username: 'service-account-console' }, /act as a person/],
    ['one bound to a key', { cnf: { jkt: 'x' } }, /cnf/],
    ['one of another client', { azp: 'support-agent' }, /client/],
    ['one of a listed client for another', { client_id: 'support-agent' }, /client/],
    ['one of no client', { azp: undefined }, /client/],
    [
      'an ID token without azp that is an access token by its scope',
      { aud: CONSOLE, azp: undefined, scope: 'x' },
      /client/,
    ],
    ['one for the client without a sign-in', { aud: CONSOLE, azp: undefined, auth_time: undefined }, /client/],
    ['one for agents', { aud: 'https://gateway.example.com' }, /another audience/],
    [
      'one for agents as well',
      { aud: ['https://approvals.example.com', 'https://gateway.example.com'] },
      /other audiences/,
    ],
    ['one for both of our audiences', { aud: ['https://approvals.example.com', CONSOLE] }, /other audiences/],
    ['one without subject', { sub: undefined }, /subject/],
    ['one with an unclean subject', { sub: 'a\u0007' }, /subject/],
    ['one that expired', { exp: nowS - 31 }, /expired/],
    ['one of another issuer', { iss: 'https://idp.example.com' }, /not known/],
    ['one with groups of the wrong type', { groups: 'finance' }, /groups/],
    ['one whose client is a list', { azp: [CONSOLE] }, /claim/],
    ['one whose sign-in is text', { auth_time: 'now' }, /not a number/],
  ])('%s', async (_, change, why) => {
    const refusal = await identify(change)
    expect(refusal).toMatchObject({ code: 'unauthenticated', challenge: { description: expect.stringMatching(why) } })
  })

  it.each(['logout+jwt', 'secevent+jwt'])('a token of typ %s', async (typ) => {
    expect(await identify({}, { typ })).toMatchObject({ challenge: { description: expect.stringMatching(/typ/) } })
  })

  it('nothing at all', async () => {
    expect(await people.identify('', 'vote')).toMatchObject({ challenge: { error: null } })
  })

  it('an access token for the client that says so by its typ only', async () => {
    const refusal = await identify({ aud: CONSOLE, azp: undefined }, { typ: 'at+jwt' })
    expect(refusal).toMatchObject({ challenge: { description: expect.stringMatching(/client/) } })
  })
})

describe('an issuer with requirements', () => {
  it('has only tokens that meet them', async () => {
    const strict = makePeople({ require: { hd: 'acme.example', email_verified: true } })
    const good = { hd: 'acme.example', email_verified: true }
    expect(await strict.identify(await sign(key, claims(good)), 'vote')).toMatchObject({ subject: 'finn' })
    for (const change of [{}, { ...good, hd: 'evil.example' }, { ...good, email_verified: 'true' }]) {
      const refusal = await strict.identify(await sign(key, claims(change)), 'vote')
      expect(refusal).toMatchObject({ challenge: { description: expect.stringMatching(/required/) } })
    }
    await strict.close()
  })
})

describe('a chat account', () => {
  it('is the person it is mapped to, with the groups of the configuration alone', () => {
    expect(people.mapChatAccount('T024/U061', { 'T024/U061': `${issuer.url}|finn` })).toEqual({
      issuer: issuer.url,
      subject: 'finn',
      name: null,
      groups: [{ issuerName: 'idp', name: 'finance' }],
      roles: ['reviewer'],
      assurance: 'slack',
      authenticatedAt: null,
    })
  })

  it('has no groups if none are configured', () => {
    const person = people.mapChatAccount('T024/U062', { 'T024/U062': `${issuer.url}|olivia` })
    expect(person).toMatchObject({ subject: 'olivia', groups: [] })
  })

  it.each([
    ['nobody maps', 'T024/U099'],
    ['is mapped to an issuer that is not configured', 'T024/U001'],
    ['is mapped to an e-mail address', 'T024/U002'],
    ['only looks like a property of every object', 'constructor'],
  ])('that %s is a stranger', (_, account) => {
    const accounts = { 'T024/U001': 'https://idp.example.com|finn', 'T024/U002': 'finn@example.com' }
    expect(people.mapChatAccount(account, accounts)).toBeNull()
  })
})

describe('the client for reading', () => {
  it('lists and shows, and never votes', async () => {
    const people = makePeople({ read_client_id: 'countersign-reader' })
    const token = await sign(key, claims({ azp: 'countersign-reader' }))
    expect(await people.identify(token, 'read')).toMatchObject({ subject: 'finn' })
    expect(await people.identify(token, 'vote')).toMatchObject({ refused: true })
    await people.close()
  })

  it('cannot be one that may vote', () => {
    const options = peopleIssuerOptions.parse({
      issuer: issuer.url,
      audience: 'https://approvals.example.com',
      client_id: CONSOLE,
      authorized_parties: [CONSOLE],
      read_client_id: CONSOLE,
    })
    expect(checkIssuers([], [options])).toEqual([expect.stringMatching(/read_client_id/)])
  })
})

describe('somebody who voted', () => {
  const voter = { subject: 'finn', name: null, roles: [], authenticatedAt: null } as const

  it('has the groups that their token asserted, and of a chat account those that the configuration gives now', () => {
    const people = makePeople()
    const groups = [{ issuerName: 'idp', name: 'security' }]
    const byToken = people.standing({ ...voter, issuer: issuer.url, groups, assurance: 'oidc' })
    expect(byToken?.groups).toEqual(groups)
    const byChat = people.standing({ ...voter, issuer: issuer.url, groups, assurance: 'slack' })
    expect(byChat?.groups).toEqual([{ issuerName: 'idp', name: 'finance' }])
  })

  it('does not count any more when their issuer is not one of people', () => {
    const gone = { ...voter, issuer: 'https://former.example.com', groups: [], assurance: 'oidc' } as const
    expect(makePeople().standing(gone)).toBeNull()
  })
})
