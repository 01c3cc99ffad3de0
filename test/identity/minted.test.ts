import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Principal, principalKey } from '../../src/domain/principal.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import { createMinted, isMintedUser, type MintedCredential, type MintedParts } from '../../src/identity/minted.ts'
import { generateKeys, type KeysConfig, readKeys } from '../../src/platform/load-keys.ts'
import { ISSUER, openGateway, temporaryDirectory } from '../audit/world.ts'
import { createOlderDatabase, createTestDatabase, type TestDatabase } from '../postgres.ts'
import { makeClock, type TestClock } from './parts.ts'

const HOUR_MS = 3_600_000
const KEYS = generateKeys()
const HERE = { upstream: 'orders', source: '192.0.2.1' }
const AGENT: Principal = {
  issuer: ISSUER,
  subject: 'agent',
  onBehalfOf: null,
  actors: [],
  owner: { issuer: ISSUER, subject: 'olivia' },
  groups: [{ issuerName: 'idp', name: 'support' }],
  client: 'agents',
  expiresAt: 1,
}

let dir: Awaited<ReturnType<typeof temporaryDirectory>>
let store: TestDatabase
let gateway: Awaited<ReturnType<typeof openGateway>>
let admin: pg.Client
let clock: TestClock
let refused: string[]
beforeEach(async () => {
  store = await createTestDatabase()
  dir = await temporaryDirectory()
  gateway = await openGateway({ url: store.url, dataDir: dir.path })
  admin = new pg.Client(store.adminUrl)
  await admin.connect()
  await admin.query('SET search_path = countersign')
  clock = makeClock()
  refused = []
})
afterEach(async () => {
  await admin.end()
  await gateway.close()
  await store.close()
  await dir.remove()
})

function open({ keys = KEYS, ...more }: Partial<Omit<MintedParts, 'keys'>> & { keys?: KeysConfig } = {}) {
  return createMinted({
    database: store.database,
    lookups: store.database,
    keys: readKeys(keys),
    options: { lifetimeMs: HOUR_MS, mostOfOne: 3 },
    within: gateway.audit.within,
    isSuspended: () => false,
    isTrusted: () => true,
    onRefused: (source) => refused.push(source),
    clock,
    ...more,
  })
}

/** The keys after a rotation of one of them. */
function rotate(purpose: 'mac' | 'payload', keys: KeysConfig): KeysConfig {
  const { kid, current: key } = keys[purpose]
  const fresh = generateKeys()[purpose]
  return { ...keys, [purpose]: { ...fresh, previous: { kid, key } } }
}

async function mint(minted = open(), principal = AGENT, upstream = 'orders'): Promise<MintedCredential> {
  const made = await minted.mint(principal, upstream)
  if (isRefusal(made)) throw new Error(made.detail)
  return made
}

/** Logs in; null if it is refused, in the one way there is. */
async function logIn({ user, password }: MintedCredential, minted = open(), how = HERE): Promise<Principal | null> {
  const challenge = await minted.challenge(user, how)
  const before = refused.length
  const settled = challenge.settle(challenge.password === password)
  if (!isRefusal(settled)) return settled
  expect(settled).toMatchObject({ code: 'unauthenticated', detail: expect.stringContaining('are not accepted') })
  expect(refused.slice(before)).toEqual([how.source])
  return null
}

describe('what is minted', () => {
  it('is a user and a password, good for whom it was minted and until it ends', async () => {
    const made = await mint()
    expect(made).toMatchObject({ upstream: 'orders', endsAt: clock.now() + HOUR_MS })
    expect(isMintedUser(made.user)).toBe(true)
    expect(made.password).toMatch(/^[\w-]{43}$/)
    expect(await logIn(made)).toEqual({ ...AGENT, expiresAt: Math.floor(made.endsAt / 1000) })
    clock.advance(HOUR_MS - 1)
    expect(await logIn(made)).toMatchObject({ subject: 'agent' })
    clock.advance(1)
    expect(await logIn(made)).toBeNull()
  })

  it('is known to every replica', async () => {
    expect(await logIn(await mint(open()), open())).toMatchObject({ subject: 'agent' })
  })

  it('is an entry in the log, without the password', async () => {
    const { user, password, endsAt } = await mint()
    const { rows } = await admin.query(
      "SELECT issuer, subject, owner, upstream, convert_from(body, 'UTF8') AS body FROM audit_log WHERE kind = 'credential_minted'",
    )
    expect(rows).toEqual([
      { issuer: ISSUER, subject: 'agent', owner: `${ISSUER}|olivia`, upstream: 'orders', body: expect.any(String) },
    ])
    expect(JSON.parse(rows[0].body).detail).toEqual({ user, ends_at: new Date(endsAt).toISOString() })
    expect(rows[0].body).not.toContain(password)
  })

  it('leaves neither the password nor whose it is in the store', async () => {
    const { password } = await mint()
    const { rows } = await admin.query('SELECT * FROM minted_credential')
    const kept = Buffer.concat(Object.values(rows[0]).map((value) => Buffer.from(value as string)))
    for (const secret of [password, Buffer.from(password, 'base64url'), 'olivia', 'support']) {
      expect(kept.includes(secret)).toBe(false)
    }
  })

  it('is another one each time', async () => {
    const [one, two] = [await mint(), await mint()]
    expect(one.user).not.toBe(two.user)
    expect(await logIn({ ...one, password: two.password })).toBeNull()
    expect(await logIn({ ...one, user: two.user })).toBeNull()
  })

  it('is forgotten when it has ended, and not before', async () => {
    const minted = open()
    await mint(minted)
    clock.advance(HOUR_MS / 2)
    await mint(minted)
    clock.advance(HOUR_MS / 2 + 1)
    await minted.sweep()
    expect((await admin.query('SELECT FROM minted_credential')).rowCount).toBe(1)
  })

  it('outlives one rotation of a key, and no second one', async () => {
    const made = await mint()
    for (const purpose of ['mac', 'payload'] as const) {
      const once = rotate(purpose, KEYS)
      expect(await logIn(made, open({ keys: once }))).toMatchObject({ subject: 'agent' })
      expect(await logIn(made, open({ keys: rotate(purpose, once) }))).toBeNull()
    }
  })
})

describe('nobody logs in', () => {
  it('with a wrong password, or none', async () => {
    const made = await mint()
    for (const password of ['', 'x', made.password.toLowerCase()]) {
      expect(await logIn({ ...made, password })).toBeNull()
    }
  })

  it('as a user who does not exist, who is challenged as any other', async () => {
    const made = await mint()
    const nobody = { ...made, user: 'cs_00000000000000000000' }
    expect(await logIn(nobody)).toBeNull()
    const [once, again, other] = [
      await open().challenge(nobody.user, HERE),
      await open().challenge(nobody.user, HERE),
      await open().challenge(made.user, HERE),
    ]
    expect(again.salt).toEqual(once.salt)
    expect(other.salt).not.toEqual(once.salt)
    expect([once.salt.length, once.password.length]).toEqual([other.salt.length, other.password.length])
    // Even with that password: there is nobody to be.
    expect(await logIn({ ...nobody, password: once.password })).toBeNull()
  })

  it('at another upstream', async () => {
    const made = await mint()
    expect(await logIn(made, open(), { ...HERE, upstream: 'billing' })).toBeNull()
    expect(await logIn(made)).not.toBeNull()
  })

  it('whose issuer is not trusted any more', async () => {
    const alone = await mint()
    const delegated = await mint(open(), {
      ...AGENT,
      issuer: 'https://other',
      onBehalfOf: { issuer: ISSUER, subject: 'a' },
    })
    const minted = open({ isTrusted: (issuer) => issuer !== ISSUER })
    expect([await logIn(alone, minted), await logIn(delegated, minted)]).toEqual([null, null])
    expect(await logIn(delegated, open({ isTrusted: (issuer) => issuer === ISSUER }))).not.toBeNull()
  })

  it.each([
    ['its upstream', "UPDATE minted_credential SET upstream = 'billing'", 'billing'],
    ['its end', "UPDATE minted_credential SET ends_at = ends_at + interval '1 day'", 'orders'],
    ['its id', "UPDATE minted_credential SET id = '00000000000000000000'", 'orders', 'cs_00000000000000000000'],
    ['whose it is', 'UPDATE minted_credential SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)', 'orders'],
    ['its key', "UPDATE minted_credential SET kid = 'another'", 'orders'],
  ])('once somebody changed %s in the store', async (_what, change, upstream, user?: string) => {
    const made = await mint()
    await admin.query(change)
    expect(await logIn({ ...made, user: user ?? made.user }, open(), { ...HERE, upstream })).toBeNull()
  })

  it('with a row that somebody wrote for another agent', async () => {
    const own = await mint()
    await mint(open(), { ...AGENT, subject: 'powerful' })
    const theirs = principalKey({ ...AGENT, subject: 'powerful' })
    await admin.query(
      `UPDATE minted_credential SET sealed = (SELECT sealed FROM minted_credential WHERE principal_key = $1)
       WHERE principal_key <> $1`,
      [theirs],
    )
    expect(await logIn(own)).toBeNull()
    await admin.query(
      `INSERT INTO minted_credential (id, upstream, principal_key, sealed, kid, ends_at)
       SELECT '11111111111111111111', upstream, principal_key, sealed, kid, ends_at FROM minted_credential
       WHERE principal_key = $1`,
      [theirs],
    )
    expect(await logIn({ ...own, user: 'cs_11111111111111111111' })).toBeNull()
  })

  it('after its end, whatever time the database says it is', async () => {
    const made = await mint()
    clock.advance(HOUR_MS)
    const claiming = {
      query: () => admin.query('SELECT id, upstream, sealed, ends_at, kid FROM minted_credential'),
    } as unknown as MintedParts['lookups']
    expect(await logIn(made, open({ lookups: claiming }))).toBeNull()
  })
})

it('a suspended agent is told so once it has proved who it is', async () => {
  const made = await mint()
  const challenge = await open({ isSuspended: () => true }).challenge(made.user, HERE)
  expect(challenge.settle(true)).toMatchObject({ code: 'suspended' })
  expect(challenge.settle(false)).toMatchObject({ code: 'unauthenticated' })
})

describe('nothing is minted', () => {
  it('where none are to be, and what there is opens nothing', async () => {
    const made = await mint()
    const none = open({ options: { lifetimeMs: HOUR_MS, mostOfOne: 0 } })
    expect(await none.mint(AGENT, 'orders')).toMatchObject({ code: 'not_found' })
    expect(await logIn(made, none)).toBeNull()
    expect(await logIn(made)).not.toBeNull()
  })

  it('for an agent that has as many as it may have, until one of them has ended', async () => {
    const minted = open()
    for (let nth = 0; nth < 3; nth++) await mint(minted)
    clock.advance(HOUR_MS - 5_000)
    expect(await minted.mint(AGENT, 'other')).toMatchObject({ code: 'rate_limited', retryAfterS: 5 })
    await mint(minted, { ...AGENT, subject: 'another' })
    await mint(minted, { ...AGENT, onBehalfOf: { issuer: ISSUER, subject: 'alice' } })
    clock.advance(5_000)
    await mint(minted)
    const { rows } = await admin.query("SELECT FROM audit_log WHERE kind = 'credential_minted'")
    expect(rows).toHaveLength(6)
  })

  it('for a suspended agent', async () => {
    const minted = open({ isSuspended: ({ subject }) => subject === 'agent' })
    expect(await minted.mint(AGENT, 'orders')).toMatchObject({ code: 'suspended' })
    await mint(minted, { ...AGENT, subject: 'another' })
  })

  it('if it cannot be recorded', async () => {
    const within = () => Promise.reject(new Error('the log is away'))
    await expect(open({ within }).mint(AGENT, 'orders')).rejects.toThrow('the log is away')
    expect((await admin.query('SELECT FROM minted_credential')).rowCount).toBe(0)
  })

  it('in a store of the release before, where nobody logs in', async () => {
    const older = await createOlderDatabase(13)
    try {
      const minted = open({ database: older.database, lookups: older.database })
      expect(await minted.mint(AGENT, 'orders')).toMatchObject({
        code: 'unavailable',
        detail: expect.stringContaining('countersign migrate'),
      })
      expect(await logIn(await mint(), minted)).toBeNull()
      await expect(minted.sweep()).resolves.toBeUndefined()
    } finally {
      await older.close()
    }
  })
})
