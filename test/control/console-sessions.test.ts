import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Browser, fieldOf, openBrowser } from './browser.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'
import { refund } from './people.ts'

const ID = '7Q3F000000'
const MINUTE = 60_000
const COOKIE = 'countersign'
let world: ConsoleWorld
beforeAll(async () => {
  const { requester } = refund(ID).approval
  world = await startConsole((issuer) => [refund(ID, { requester: { ...requester, issuer } })])
})
afterAll(() => world[Symbol.asyncDispose]())
afterEach(() => {
  world.provider.people.set('finn', { name: 'Finn from finance', groups: ['finance'] })
  world.provider.isDown = false
  world.provider.isUserinfoDown = false
  world.backToNow()
})

/** Whether a browser is somebody at a replica. */
async function isSignedIn(browser: Browser, base = world.base): Promise<boolean> {
  const { status, url } = await browser.get(`${base}/`)
  return status === 200 && url.href === `${base}/`
}

function secretOf(browser: Browser): string {
  const secret = browser.cookies(world.base).get(COOKIE)
  if (secret === undefined) throw new Error('nobody is signed in')
  return secret
}

/** Another browser with a copy of the cookie. */
function withCookie(secret: string, base = world.base): Browser {
  const browser = openBrowser()
  browser.setCookie(base, COOKIE, secret)
  return browser
}

function approve(browser: Browser, text: string) {
  const form = { csrf: fieldOf(text, 'csrf'), card_hash: refund(ID).approval.cardHash, reason: '' }
  return browser.post(`${world.base}/approvals/${ID}/approve`, form)
}

describe('the cookie', () => {
  it('is for this host alone, and no script reads it', async () => {
    const { cookieLines } = await world.signIn('finn')
    const [line = ''] = cookieLines.filter((one) => one.startsWith(`${COOKIE}=`))
    expect(line.split('; ').slice(1).sort()).toEqual(['HttpOnly', 'Max-Age=28800', 'Path=/', 'SameSite=Lax'])
  })

  it('has the prefix that no other host and no plain HTTP can set, where people come over TLS', async () => {
    await using secure = await startConsole(() => [], { publicUrl: 'https://approvals.example.com' })
    const { cookieLines, seen } = await secure.signIn('finn')
    expect([seen.status, seen.url.href]).toEqual([200, 'https://approvals.example.com/'])
    const set = cookieLines.filter((one) => one.includes('countersign'))
    expect(set.length).toBeGreaterThan(1)
    for (const line of set) {
      expect(line).toMatch(/^__Host-countersign/)
      expect(line.split('; ')).toEqual(expect.arrayContaining(['HttpOnly', 'Secure', 'SameSite=Lax', 'Path=/']))
      expect(line).not.toMatch(/domain=/i)
    }
  })

  it('says nothing by itself: it is random, and the store knows only its hash', async () => {
    const secret = secretOf(await world.signIn('finn'))
    expect(secret).toMatch(/^[\w-]{43}$/)
    const { rows } = await world.database.query<{ row: string }>('SELECT session::text AS row FROM session')
    const bytes = Buffer.from(secret, 'base64url').toString('hex')
    for (const { row } of rows) {
      expect(row).not.toContain(secret)
      expect(row).not.toContain(bytes)
      expect(Buffer.from(row, 'utf8').includes('finn')).toBe(false)
    }
  })
})

describe('the table of sessions', () => {
  async function rowOf(browser: Browser) {
    const session = await world.sessions.find(secretOf(browser), { isUse: false })
    return Buffer.from(session?.id ?? '', 'hex')
  }

  it('signs nobody in to whom reads it', async () => {
    const id = await rowOf(await world.signIn('finn'))
    for (const guess of [id.toString('hex'), id.toString('base64url'), id.toString('base64')]) {
      expect(await isSignedIn(withCookie(guess))).toBe(false)
    }
  })

  it('signs nobody in with a row that was copied onto the hash of another secret', async () => {
    const [olivia, finn] = [await world.signIn('olivia'), await world.signIn('finn')]
    const [from, to] = [await rowOf(olivia), await rowOf(finn)]
    await world.database.query(
      'UPDATE session SET sealed = (SELECT sealed FROM session WHERE id_hash = $1) WHERE id_hash = $2',
      [from, to],
    )
    expect(await isSignedIn(finn)).toBe(false)
    expect(await isSignedIn(olivia)).toBe(true)
  })

  it('signs nobody in with a row that was changed', async () => {
    const finn = await world.signIn('finn')
    const id = await rowOf(finn)
    await world.database.query(
      'UPDATE session SET sealed = set_byte(sealed, length(sealed) - 20, get_byte(sealed, length(sealed) - 20) # 1) WHERE id_hash = $1',
      [id],
    )
    expect(await isSignedIn(finn)).toBe(false)
  })
})

describe('a session ends', () => {
  /** Lets time pass for one session, as the store tells it. */
  async function age(browser: Browser, column: 'seen_at' | 'ends_at', ms: number): Promise<void> {
    const session = await world.sessions.find(secretOf(browser), { isUse: false })
    const later = column === 'ends_at' ? ", started_at = started_at - $2 * interval '1 millisecond'" : ''
    await asOwner(
      `UPDATE countersign.session SET ${column} = ${column} - $2 * interval '1 millisecond'${later} WHERE id_hash = $1`,
      [Buffer.from(session?.id ?? '', 'hex'), ms],
    )
  }

  async function asOwner(sql: string, params: readonly unknown[]): Promise<void> {
    const client = new pg.Client({ connectionString: world.store.adminUrl })
    await client.connect()
    await client.query(sql, [...params])
    await client.end()
  }

  it('after an hour without use', async () => {
    const finn = await world.signIn('finn')
    await age(finn, 'seen_at', 59 * MINUTE)
    expect(await isSignedIn(finn)).toBe(true)
    await age(finn, 'seen_at', 59 * MINUTE)
    expect(await isSignedIn(finn)).toBe(true)
    await age(finn, 'seen_at', 61 * MINUTE)
    expect(await isSignedIn(finn)).toBe(false)
  })

  it('after an hour without use even if a page stays open and keeps itself up to date', async () => {
    const finn = await world.signIn('finn')
    await age(finn, 'seen_at', 59 * MINUTE)
    const { status } = await finn.get(`${world.base}/`, { 'sec-fetch-dest': 'empty', 'sec-fetch-mode': 'cors' })
    expect(status).toBe(200)
    await age(finn, 'seen_at', 2 * MINUTE)
    expect(await isSignedIn(finn)).toBe(false)
  })

  it('eight hours after it began, however much it is used', async () => {
    const finn = await world.signIn('finn')
    await age(finn, 'ends_at', 8 * 60 * MINUTE - MINUTE)
    expect(await isSignedIn(finn)).toBe(true)
    await age(finn, 'ends_at', MINUTE)
    expect(await isSignedIn(finn)).toBe(false)
  })

  it('on every replica, when its person signs out', async () => {
    const finn = await world.signIn('finn')
    const copy = withCookie(secretOf(finn), world.second)
    expect(await isSignedIn(copy, world.second)).toBe(true)
    const { status, text } = await finn.post(`${world.base}/sign-out`, { csrf: fieldOf(finn.seen.text, 'csrf') })
    expect([status, text]).toEqual([200, expect.stringContaining('You are signed out')])
    expect(finn.cookies(world.base).has(COOKIE)).toBe(false)
    expect(await isSignedIn(copy, world.second)).toBe(false)
    expect(text).toContain(`href="${world.issuer}/session/end?`)
  })

  it('also where its identity provider is down, and only by a form of this console', async () => {
    const finn = await world.signIn('finn')
    const copy = withCookie(secretOf(finn))
    world.advance(16 * MINUTE)
    world.provider.isDown = true
    for (const csrf of ['', 'A'.repeat(43)]) {
      expect((await finn.post(`${world.base}/sign-out`, { csrf })).status).toBe(403)
    }
    const csrf = fieldOf(finn.seen.text, 'csrf')
    expect((await finn.post(`${world.base}/sign-out`, { csrf }, { from: 'https://evil.example' })).status).toBe(403)
    expect((await finn.post(`${world.base}/sign-out`, { csrf })).status).toBe(200)
    world.provider.isDown = false
    expect(await isSignedIn(copy)).toBe(false)
  })

  it('when its person signs in with a twenty-first browser', async () => {
    const browsers = []
    for (let i = 0; i < 20; i++) browsers.push(await world.signIn('fay'))
    const [first, next] = browsers
    if (!first || !next) throw new Error('there are twenty')
    expect(await isSignedIn(first)).toBe(true)
    await world.signIn('fay')
    expect(await isSignedIn(first)).toBe(false)
    expect(await isSignedIn(next)).toBe(true)
  })
})

describe('how a person stands', () => {
  it('is not asked again while it is fresh', async () => {
    const finn = await world.signIn('finn')
    const before = { ...world.provider.hits }
    expect(await isSignedIn(finn)).toBe(true)
    expect(world.provider.hits).toEqual(before)
  })

  it('is asked for again when it is older, with a refresh token and at userinfo', async () => {
    const finn = await world.signIn('finn')
    world.provider.people.set('finn', { name: 'Finn, renamed', groups: ['finance', 'audit'] })
    const before = { ...world.provider.hits }
    world.advance(16 * MINUTE)
    const { text } = await finn.get(`${world.base}/`)
    expect(text).toContain('Finn, renamed')
    expect(world.provider.hits).toEqual({ token: before.token + 1, userinfo: before.userinfo + 1 })
    world.advance(16 * MINUTE)
    expect(await isSignedIn(finn)).toBe(true)
  })

  it('is asked for once by requests that come at once, on whichever replica', async () => {
    const finn = await world.signIn('finn')
    const copy = withCookie(secretOf(finn), world.second)
    const before = world.provider.hits.token
    world.advance(16 * MINUTE)
    const all = [isSignedIn(finn), isSignedIn(copy, world.second), isSignedIn(finn), isSignedIn(copy, world.second)]
    expect(await Promise.all(all)).toEqual([true, true, true, true])
    expect(world.provider.hits.token).toBe(before + 1)
  })

  it('counts at the vote: whoever was taken out of the group meanwhile votes no more', async () => {
    const finn = await world.signIn('finn', { path: `/approvals/${ID}` })
    world.provider.people.set('finn', { name: 'Finn from finance', groups: [] })
    world.advance(16 * MINUTE)
    const { status } = await approve(finn, finn.seen.text)
    expect(status).toBe(404)
    expect(world.queue.ballots).toEqual([])
  })

  it('ends the session of whom the provider does not know any more', async () => {
    const finn = await world.signIn('finn', { path: `/approvals/${ID}` })
    world.provider.people.delete('finn')
    world.advance(16 * MINUTE)
    expect((await approve(finn, finn.seen.text)).status).toBe(401)
    expect(await isSignedIn(finn)).toBe(false)
    expect(world.queue.ballots).toEqual([])
    // It is over, whatever the provider says later.
    world.provider.people.set('finn', { name: 'Finn from finance', groups: ['finance'] })
    expect(await isSignedIn(finn)).toBe(false)
  })

  it('keeps the session of somebody whose provider is down, and lets nothing be done with it meanwhile', async () => {
    const finn = await world.signIn('finn', { path: `/approvals/${ID}` })
    world.advance(16 * MINUTE)
    world.provider.isDown = true
    expect((await approve(finn, finn.seen.text)).status).toBe(503)
    expect((await finn.get(`${world.base}/`)).status).toBe(503)
    expect(world.queue.ballots).toEqual([])
    world.provider.isDown = false
    expect(await isSignedIn(finn)).toBe(true)
  })

  it('is asked for later where only half of the answer came: the refresh token that was used up is not used again', async () => {
    const finn = await world.signIn('finn')
    world.advance(16 * MINUTE)
    world.provider.isUserinfoDown = true
    const before = world.provider.hits.token
    expect((await finn.get(`${world.base}/`)).status).toBe(503)
    expect((await finn.get(`${world.base}/`)).status).toBe(503)
    expect(world.provider.hits.token).toBe(before + 2)
    world.provider.isUserinfoDown = false
    expect(await isSignedIn(finn)).toBe(true)
  })
})
