import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Person } from '../../src/domain/principal.ts'
import type { VoteAbout } from '../../src/identity/passkey-challenge.ts'
import { createPasskeys, hasPasskeys, type PasskeyAsk } from '../../src/identity/passkeys.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { ISSUER, log, openGateway, temporaryDirectory } from '../audit/world.ts'
import { createAuthenticator, type Wrongs } from '../fakes/authenticator.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

const ORIGIN = 'https://approvals.example.com'
const PLACE = { origin: ORIGIN, rpId: 'approvals.example.com' }
const KEYS = readKeys(generateKeys())
const ABOUT: VoteAbout = {
  approval: '7Q3F000000',
  digest: 'ab'.repeat(32),
  cardHash: 'cd'.repeat(32),
  decision: 'approve',
}

let dir: Awaited<ReturnType<typeof temporaryDirectory>>
let store: TestDatabase
let gateway: Awaited<ReturnType<typeof openGateway>>
let nowMs: number
beforeEach(async () => {
  nowMs = Date.now()
  store = await createTestDatabase()
  dir = await temporaryDirectory()
  gateway = await openGateway({ url: store.url, dataDir: dir.path })
})
afterEach(async () => {
  await gateway.close()
  await store.close()
  await dir.remove()
})

function open({ keys = KEYS } = {}) {
  const { database } = store
  const { within } = gateway.audit
  return createPasskeys({ database, keys, within, publicUrl: ORIGIN, clock: { now: () => nowMs }, log })
}

function keeper(subject: string, { agoS = 10, roles = [] as Person['roles'], id = `session of ${subject}` } = {}) {
  const person: Person = {
    issuer: ISSUER,
    subject,
    name: null,
    groups: [],
    roles: ['reviewer', ...roles],
    assurance: 'oidc',
    authenticatedAt: Math.floor(nowMs / 1000) - agoS,
  }
  return { id, person }
}
const finn = () => keeper('finn')

function asked(ask: PasskeyAsk | { fault: string } | null): PasskeyAsk & { options: { challenge: string } } {
  if (!ask || 'fault' in ask) throw new Error('nothing was asked')
  return ask as PasskeyAsk & { options: { challenge: string } }
}

/** Finn, with a passkey that was added as it should be. */
async function enrolled() {
  const passkeys = open()
  const device = createAuthenticator(PLACE)
  const { options, sealed } = asked(await passkeys.offer(finn()))
  const added = await passkeys.add({ sealed, response: device.create(options), name: 'phone', who: finn() })
  if ('fault' in added) throw new Error(added.fault)
  async function prove(wrongs: Wrongs = {}, about: VoteAbout = ABOUT) {
    const ask = asked(await passkeys.challenge(ABOUT, finn()))
    return passkeys.prove({ sealed: ask.sealed, response: device.get(ask.options, wrongs), about, who: finn() })
  }
  return { passkeys, device, prove, id: added.passkey.id }
}

describe('a passkey', () => {
  it('is added, proves its person for a vote, and is recorded', async () => {
    const { passkeys, prove, id } = await enrolled()
    expect(await passkeys.list(finn().person)).toMatchObject([{ name: 'phone', usedAt: null }])
    expect(await prove()).toEqual({ person: { ...finn().person, assurance: 'passkey' } })
    expect(await prove()).toHaveProperty('person')
    expect(await passkeys.list(finn().person)).toMatchObject([{ usedAt: expect.any(Number) }])
    expect(await passkeys.remove({ id, by: finn().person, via: 'console' })).toBe(true)
    expect(await passkeys.challenge(ABOUT, finn())).toBeNull()
    const { rows } = await store.database.query(
      `SELECT kind, subject, reviewer FROM countersign.audit_log WHERE kind LIKE 'passkey%' ORDER BY seq`,
    )
    const named = { subject: 'finn', reviewer: `${ISSUER}|finn` }
    expect(rows).toEqual([
      { kind: 'passkey_added', ...named },
      { kind: 'passkey_removed', ...named },
    ])
  })

  it('is not added after an old sign-in, or after one that does not say when', async () => {
    for (const agoS of [301, -120])
      expect(await open().offer(keeper('finn', { agoS }))).toEqual({ fault: 'sign_in_too_old' })
    const { id, person } = finn()
    expect(await open().offer({ id, person: { ...person, authenticatedAt: null } })).toEqual({
      fault: 'sign_in_too_old',
    })
  })

  it.each<[string, Wrongs]>([
    ['made for another place', { origin: 'https://evil.example' }],
    ['of another name', { rpId: 'evil.example' }],
    ['over another challenge', { challenge: 'AAAA' }],
    ['of a device that did not check its person', { isUnverified: true }],
    ['of nobody', { isAbsent: true }],
    ['that was used, not made', { type: 'webauthn.get' }],
  ])('is not added: %s', async (_, wrongs) => {
    const passkeys = open()
    const { options, sealed } = asked(await passkeys.offer(finn()))
    const response = createAuthenticator(PLACE).create(options, wrongs)
    expect(await passkeys.add({ sealed, response, name: 'x', who: finn() })).toEqual({ fault: 'not_verified' })
    expect(await passkeys.list(null)).toEqual([])
  })

  it('is added by whoever asked, once, and in time', async () => {
    const passkeys = open()
    const { options, sealed } = asked(await passkeys.offer(finn()))
    const response = createAuthenticator(PLACE).create(options)
    for (const who of [keeper('fay'), keeper('finn', { id: 'another session' })]) {
      expect(await passkeys.add({ sealed, response, name: 'x', who })).toEqual({ fault: 'expired' })
    }
    expect(await passkeys.add({ sealed, response: 'not JSON', name: 'x', who: finn() })).toEqual({
      fault: 'not_verified',
    })
    expect(await passkeys.add({ sealed, response, name: 'x', who: finn() })).toHaveProperty('passkey')
    expect(await passkeys.add({ sealed, response, name: 'x', who: finn() })).toEqual({ fault: 'used' })
    const late = asked(await passkeys.offer(finn()))
    nowMs += 11 * 60_000
    const made = createAuthenticator(PLACE).create(late.options)
    expect(await passkeys.add({ sealed: late.sealed, response: made, name: 'x', who: finn() })).toEqual({
      fault: 'expired',
    })
  })
})

describe('what a passkey signed', () => {
  it.each<[string, Wrongs]>([
    ['at another place', { origin: 'https://evil.example' }],
    ['for another name', { rpId: 'evil.example' }],
    ['over another challenge', { challenge: 'AAAA' }],
    ['without checking its person', { isUnverified: true }],
    ['with nobody there', { isAbsent: true }],
    ['as one that is made', { type: 'webauthn.create' }],
  ])('counts nothing %s', async (_, wrongs) => {
    const { prove } = await enrolled()
    expect(await prove(wrongs)).toEqual({ fault: 'not_verified' })
  })

  it('is for one vote: this approval, this digest, this card', async () => {
    const { prove } = await enrolled()
    for (const other of [{ approval: '7Q3F000001' }, { digest: 'ff'.repeat(32) }, { cardHash: 'ff'.repeat(32) }]) {
      expect(await prove({}, { ...ABOUT, ...other })).toEqual({ fault: 'expired' })
    }
  })

  it('counts once, for whoever was asked', async () => {
    const { passkeys, device } = await enrolled()
    const { options, sealed } = asked(await passkeys.challenge(ABOUT, finn()))
    const response = device.get(options)
    for (const who of [keeper('fay'), keeper('finn', { id: 'another session' })]) {
      expect(await passkeys.prove({ sealed, response, about: ABOUT, who })).toEqual({ fault: 'expired' })
    }
    const given = { sealed, response, about: ABOUT, who: finn() }
    expect(await passkeys.prove(given)).toHaveProperty('person')
    expect(await passkeys.prove(given)).toHaveProperty('fault')
  })

  it('counts nothing by a device whose counter goes back: there are two of it', async () => {
    const { prove } = await enrolled()
    expect(await prove({ counter: 7 })).toHaveProperty('person')
    expect(await prove({ counter: 7 })).toEqual({ fault: 'not_verified' })
    expect(await prove({ counter: 6 })).toEqual({ fault: 'not_verified' })
    expect(await prove({ counter: 8 })).toHaveProperty('person')
  })

  it('counts nothing by another person’s passkey', async () => {
    const { passkeys, device } = await enrolled()
    const other = createAuthenticator(PLACE)
    const offer = asked(await passkeys.offer(keeper('fay')))
    await passkeys.add({ sealed: offer.sealed, response: other.create(offer.options), name: 'x', who: keeper('fay') })
    const { options, sealed } = asked(await passkeys.challenge(ABOUT, keeper('fay')))
    const given = { sealed, response: device.get(options), about: ABOUT, who: keeper('fay') }
    expect(await passkeys.prove(given)).toEqual({ fault: 'unknown' })
  })
})

describe('who may remove one', () => {
  it('is its person, or an admin', async () => {
    const { passkeys, id } = await enrolled()
    expect(await passkeys.remove({ id, by: keeper('fay').person, via: 'console' })).toBe(false)
    expect(await passkeys.remove({ id, by: keeper('ada', { roles: ['admin'] }).person, via: 'console' })).toBe(true)
  })
})

describe('a row that the gateway’s database role writes', () => {
  it.each([
    ['another key', `UPDATE passkey SET counter = 0`],
    ['another person', `UPDATE passkey SET subject = 'fay'`],
    ['another public key', `UPDATE passkey SET public_key = '\\x00'`],
  ])('is nobody’s passkey: %s', async (_, sql) => {
    const { passkeys, prove } = await enrolled()
    await prove()
    // As the database's own administrator where its role may not even write it.
    await store.database.query(sql).catch(async () => {
      const admin = new pg.Client({ connectionString: store.adminUrl })
      await admin.connect()
      await admin.query(`SET search_path = countersign; ${sql}`)
      await admin.end()
    })
    expect(await passkeys.list(null)).toEqual([])
    expect(await passkeys.challenge(ABOUT, finn())).toBeNull()
  })

  it('is none if it was made with other keys', async () => {
    await enrolled()
    expect(await open({ keys: readKeys(generateKeys()) }).list(null)).toEqual([])
  })
})

it('passkeys belong to a name, not to an address', () => {
  expect(
    ['https://a.example.com', 'http://localhost:8081', 'http://127.0.0.1:8081', 'http://[::1]:8081'].map(hasPasskeys),
  ).toEqual([true, true, false, false])
})
