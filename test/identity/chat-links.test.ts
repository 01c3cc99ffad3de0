import { createHash, randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/domain/error.ts'
import type { Person } from '../../src/domain/principal.ts'
import { createChatLinks } from '../../src/identity/chat-links.ts'
import { createLinking, type LinkFault } from '../../src/identity/linking.ts'
import { createSessions } from '../../src/identity/sessions.ts'
import type { SignedIn } from '../../src/identity/sign-in.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { ISSUER, log, openGateway, temporaryDirectory } from '../audit/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

const FRESH_MS = 60_000
const KEYS = readKeys(generateKeys())
const account = (user: string, team = 'T024FAKE') => ({ service: 'slack', team, user })
const FINN = account('U0FINN')

let dir: Awaited<ReturnType<typeof temporaryDirectory>>
let store: TestDatabase
let gateway: Awaited<ReturnType<typeof openGateway>>
beforeEach(async () => {
  store = await createTestDatabase()
  dir = await temporaryDirectory()
  gateway = await openGateway({ url: store.url, dataDir: dir.path })
})
afterEach(async () => {
  await gateway.close()
  await store.close()
  await dir.remove()
})

function person(subject: string, ...roles: Person['roles']): Person {
  const groups = [{ issuerName: 'idp', name: 'finance' }]
  const proven = { name: `${subject} the person`, assurance: 'oidc', authenticatedAt: 1_700_000_000 } as const
  return { issuer: ISSUER, subject, groups, roles: ['reviewer', ...roles], ...proven }
}

/** An identity provider that takes every refresh token once, and says which groups people have. */
function world({ keys = KEYS } = {}) {
  const state = {
    nowMs: Date.now(),
    groups: ['finance'],
    isDown: false,
    isRefusing: false,
    asked: 0,
    used: new Set<string>(),
  }
  const { database } = store
  const clock = { now: () => state.nowMs, monotonic: () => state.nowMs }
  const sessions = createSessions({ database, keys: keys.cookie, limits: { lifetimeMs: 3_600_000, idleMs: 3_600_000 } })
  async function renew(signedIn: SignedIn, keep: (tokens: SignedIn['tokens']) => Promise<void>) {
    const { refresh } = signedIn.tokens
    if (refresh === null) return null
    if (state.isDown) throw new GatewayError('upstream', 'down')
    state.asked += 1
    if (state.isRefusing || state.used.has(refresh)) return null
    state.used.add(refresh)
    const tokens = { ...signedIn.tokens, refresh: `${refresh}+` }
    await keep(tokens)
    const groups = state.groups.map((name) => ({ issuerName: 'idp', name }))
    return { ...signedIn, tokens, person: { ...signedIn.person, groups }, checkedAt: clock.now() }
  }
  const links = createChatLinks({
    database,
    keys,
    within: gateway.audit.within,
    sessions,
    signIns: { renew },
    people: { standing: (voter) => voter },
    clock,
    freshMs: FRESH_MS,
    log,
  })

  async function openSession(who: Person, refresh: string | null = `token of ${who.subject} ${randomUUID()}`) {
    const tokens = { sub: who.subject, idToken: '', refresh }
    const secret = await sessions.open({ person: who, issuerName: 'idp', tokens, checkedAt: state.nowMs })
    const session = await sessions.find(secret)
    if (!session) throw new Error('the session is gone')
    return { secret, session }
  }
  async function bind(who: Person, to = FINN, ticket: string = randomUUID()) {
    const { session } = await openSession(who)
    const hash = createHash('sha256').update(ticket).digest()
    return links.bind({ account: to, session, ticket: { hash, endsAt: state.nowMs + 60_000 } })
  }
  return { state, clock, sessions, links, openSession, bind }
}

async function entries() {
  const { rows } = await store.database.query(
    `SELECT kind, issuer, subject, on_behalf_of, reviewer FROM countersign.audit_log WHERE kind LIKE 'account%' ORDER BY seq`,
  )
  return rows
}

describe('a link', () => {
  it('makes a chat account its person, with the groups of the session, and is recorded', async () => {
    const { links, bind } = world()
    expect(await links.find(FINN)).toEqual({ fault: 'unlinked' })
    expect(await bind(person('finn'))).toMatchObject({ link: { account: FINN, person: { subject: 'finn' } } })
    const found = { ...person('finn'), assurance: 'slack', authenticatedAt: null }
    expect(await links.find(FINN)).toEqual({ person: found })
    expect(await links.find(account('U0FINN', 'T0OTHER'))).toEqual({ fault: 'unlinked' })
    expect(await entries()).toEqual([
      {
        kind: 'account_linked',
        issuer: 'slack',
        subject: expect.stringContaining('T024FAKE/U0FINN'),
        on_behalf_of: `${ISSUER}|finn`,
        reviewer: `${ISSUER}|finn`,
      },
    ])
  })

  it('is one a person and one an account', async () => {
    const { links, bind } = world()
    await bind(person('finn'))
    expect(await bind(person('finn'), account('U0OTHER'))).toEqual({ fault: 'person_taken' })
    expect(await bind(person('fay'))).toEqual({ fault: 'account_taken' })
    expect(await links.list(null)).toHaveLength(1)
  })

  it('is made once, of many who try at the same time', async () => {
    const { links, bind } = world()
    const results = await Promise.all([
      ...['U0A', 'U0B', 'U0C'].map((user) => bind(person('finn'), account(user))),
      ...['fay', 'fred'].map((subject) => bind(person(subject), account('U0A'))),
    ])
    const made = results.filter((result) => 'link' in result)
    expect((await links.list(null)).map(({ id }) => id).toSorted()).toEqual(
      made.map((result) => ('link' in result ? result.link.id : '')).toSorted(),
    )
    const all = await links.list(null)
    expect(all.length).toBeGreaterThan(0)
    expect(new Set(all.map(({ account: { user } }) => user)).size).toBe(all.length)
    expect(new Set(all.map(({ person: { subject } }) => subject)).size).toBe(all.length)
  })

  it('takes a ticket once', async () => {
    const { links, bind } = world()
    expect(await bind(person('finn'), FINN, 'ticket')).toHaveProperty('link')
    expect(await bind(person('finn'), FINN, 'ticket')).toEqual({ fault: 'used' })
    await links.unlink({ id: (await links.list(null))[0]?.id ?? '', by: person('finn'), via: 'console' })
    expect(await bind(person('finn'), FINN, 'ticket')).toEqual({ fault: 'used' })
  })

  it('has what the groups are asked with alone: the session gave it away', async () => {
    const { links, sessions, openSession, state } = world()
    const { secret, session } = await openSession(person('finn'))
    const ticket = { hash: createHash('sha256').update('t').digest(), endsAt: state.nowMs + 1000 }
    await links.bind({ account: FINN, session, ticket })
    expect((await sessions.find(secret))?.tokens.refresh).toBeNull()
  })

  it('is not made for a session that ended, or that is being asked about', async () => {
    const { links, sessions, openSession, state } = world()
    const { session } = await openSession(person('finn'))
    const ticket = { hash: createHash('sha256').update('t').digest(), endsAt: state.nowMs + 1000 }
    await sessions.claim(session)
    expect(await links.bind({ account: FINN, session, ticket })).toEqual({ fault: 'signed_out' })
    await sessions.release(session)
    await sessions.end(session)
    expect(await links.bind({ account: FINN, session, ticket })).toEqual({ fault: 'signed_out' })
    expect(await links.list(null)).toEqual([])
  })
})

describe('the groups of a link', () => {
  it('are asked again once they are too old, once for many presses', async () => {
    const { links, bind, state } = world()
    await bind(person('finn'))
    state.groups = ['support']
    expect(await links.find(FINN)).toMatchObject({ person: { groups: [{ name: 'finance' }] } })
    state.nowMs += FRESH_MS
    const found = await Promise.all([1, 2, 3, 4].map(() => links.find(FINN)))
    for (const one of found) expect(one).toMatchObject({ person: { groups: [{ name: 'support' }] } })
    expect(state.asked).toBe(1)
    expect(await links.standing({ ...person('finn'), assurance: 'slack' })).toMatchObject({
      groups: [{ name: 'support' }],
    })
  })

  it('are nobody’s any more when the identity provider refuses, until the person signs in again', async () => {
    const { links, bind, state } = world()
    await bind(person('finn'))
    state.nowMs += FRESH_MS
    state.isRefusing = true
    expect(await links.find(FINN)).toEqual({ fault: 'stale' })
    state.isRefusing = false
    await bind(person('finn'))
    expect(await links.find(FINN)).toHaveProperty('person')
    expect(await links.list(null)).toHaveLength(1)
  })

  it('are in doubt while the identity provider is down', async () => {
    const { links, bind, state } = world()
    await bind(person('finn'))
    state.nowMs += FRESH_MS
    state.isDown = true
    expect(await links.find(FINN)).toEqual({ fault: 'away' })
    state.isDown = false
    expect(await links.find(FINN)).toHaveProperty('person')
  })
})

describe('unlinking', () => {
  it('is for the person and for admins, takes effect at once, and is recorded', async () => {
    const { links, bind } = world()
    const made = await bind(person('finn'))
    const id = 'link' in made ? made.link.id : ''
    expect(await links.unlink({ id, by: person('fay'), via: 'console' })).toBe(false)
    expect(await links.unlink({ id, by: person('ada', 'admin'), via: 'console' })).toBe(true)
    expect(await links.unlink({ id, by: person('ada', 'admin'), via: 'console' })).toBe(false)
    expect(await links.find(FINN)).toEqual({ fault: 'unlinked' })
    expect(await links.standing({ ...person('finn'), assurance: 'slack' })).toBeNull()
    expect(await entries()).toMatchObject([
      { kind: 'account_linked' },
      { kind: 'account_unlinked', on_behalf_of: `${ISSUER}|finn`, reviewer: `${ISSUER}|ada` },
    ])
  })
})

describe('a row that the gateway’s database role writes', () => {
  const alter = (sql: string, params: unknown[] = []) => store.database.query(sql, params)

  it('links nobody: made up, moved to another account, or given to another person', async () => {
    const { links, bind } = world()
    await bind(person('finn'))
    await alter(
      `INSERT INTO chat_link (id, service, team, account, issuer, subject, linked_at, sealed, kid, mac)
       SELECT id, service, team, 'U0MALLORY', issuer, 'finn2', linked_at, sealed, kid, mac FROM chat_link`,
    ).catch(() => undefined)
    for (const [column, value] of [
      ['account', 'U0MALLORY'],
      ['subject', 'fay'],
      ['team', 'T0OTHER'],
    ] as const) {
      await alter(
        `WITH old AS (DELETE FROM chat_link RETURNING *)
         INSERT INTO chat_link (id, service, team, account, issuer, subject, linked_at, sealed, kid, mac)
         SELECT gen_random_uuid(), service, ${column === 'team' ? '$1' : 'team'}, ${column === 'account' ? '$1' : 'account'},
           issuer, ${column === 'subject' ? '$1' : 'subject'}, linked_at, sealed, kid, mac FROM old`,
        [value],
      )
      for (const user of ['U0FINN', 'U0MALLORY']) {
        for (const team of ['T024FAKE', 'T0OTHER']) {
          expect(await links.find(account(user, team))).toEqual({ fault: 'unlinked' })
        }
      }
      expect(await links.list(null)).toEqual([])
    }
  })

  it('keeps nobody from linking', async () => {
    const { links, bind } = world()
    await alter(
      `INSERT INTO chat_link (id, service, team, account, issuer, subject, linked_at, sealed, kid, mac)
       VALUES ($1, 'slack', 'T024FAKE', 'U0FINN', $2, 'mallory', now(), '\\x00', 'm1', decode(repeat('00', 32), 'hex'))`,
      [randomUUID(), ISSUER],
    )
    expect(await links.find(FINN)).toEqual({ fault: 'unlinked' })
    expect(await bind(person('finn'))).toHaveProperty('link')
    expect(await links.find(FINN)).toMatchObject({ person: { subject: 'finn' } })
  })

  it('counts nothing if it was made with other keys', async () => {
    const { bind } = world({ keys: readKeys(generateKeys()) })
    await bind(person('finn'))
    expect(await world().links.find(FINN)).toEqual({ fault: 'unlinked' })
  })
})

describe('the way to a link', () => {
  /** A chat service at which somebody signs in as `user`. */
  function flow(user: () => string) {
    const { links, clock, openSession, state } = world()
    const signIn = {
      begin: async () => ({ url: new URL('https://slack.example.com/'), pending: { state: 's' } }),
      complete: async () => ({ team: 'T024FAKE', user: user(), name: null }),
    }
    const linking = createLinking({ links, signInOf: () => signIn, keys: KEYS.cookie, clock })
    return { links, linking, openSession, state }
  }

  /** Goes all of it, as whoever `at` names for each step. */
  async function walk(
    { linking }: ReturnType<typeof flow>,
    ticket: string,
    at: Awaited<ReturnType<ReturnType<typeof world>['openSession']>>[],
  ): Promise<LinkFault | 'linked'> {
    const [first, second = first, third = second] = at.map(({ session }) => session)
    if (!first || !second || !third) throw new Error('nobody walks')
    const begun = await linking.begin(ticket, 'slack', first)
    if ('fault' in begun) return begun.fault
    const back = await linking.complete(begun.sealed, new URLSearchParams(), second)
    if ('fault' in back) return back.fault
    const done = await linking.confirm(back.proof, third)
    return 'fault' in done ? done.fault : 'linked'
  }

  it('ends where the one who signs in at the chat service did not press the button', async () => {
    let user = 'U0VERA'
    const world = flow(() => user)
    const ticket = world.linking.invite(FINN)
    const vera = await world.openSession(person('vera'))
    expect(await walk(world, ticket, [vera])).toBe('other_account')
    expect(await world.links.list(null)).toEqual([])
    user = 'U0FINN'
    expect(await walk(world, ticket, [await world.openSession(person('finn'))])).toBe('linked')
    expect(await walk(world, ticket, [await world.openSession(person('finn'))])).toBe('used')
  })

  it('stays in one session of one person', async () => {
    const world = flow(() => 'U0FINN')
    const ticket = world.linking.invite(FINN)
    const [finn, again, mallory] = [
      await world.openSession(person('finn')),
      await world.openSession(person('finn')),
      await world.openSession(person('mallory')),
    ]
    for (const other of [again, mallory]) {
      expect(await walk(world, ticket, [finn, other])).toBe('other_browser')
      expect(await walk(world, ticket, [finn, finn, other])).toBe('other_browser')
    }
  })

  it('takes no ticket that is old, made up, or another step’s', async () => {
    const world = flow(() => 'U0FINN')
    const finn = await world.openSession(person('finn'))
    const ticket = world.linking.invite(FINN)
    const begun = await world.linking.begin(ticket, 'slack', finn.session)
    for (const wrong of ['', 'x', `${ticket.slice(0, -2)}AA`, 'sealed' in begun ? begun.sealed : '']) {
      expect(world.linking.look(wrong, 'slack')).toEqual({ fault: 'expired' })
      expect(await walk(world, wrong, [finn])).toBe('expired')
    }
    expect(await world.linking.confirm(ticket, finn.session)).toEqual({ fault: 'expired' })
    expect(world.linking.look(ticket, 'teams')).toEqual({ fault: 'expired' })
    world.state.nowMs += 3_600_000
    expect(await walk(world, ticket, [finn])).toBe('expired')
  })
})
