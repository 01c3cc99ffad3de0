import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { ownPath } from '../../src/control/console/respond.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'
import { refund } from './people.ts'

const ID = '7Q3F000000'
let world: ConsoleWorld
beforeAll(async () => {
  world = await startConsole((issuer) => [refund(ID, { requester: { ...refund(ID).approval.requester, issuer } })])
})
afterAll(() => world[Symbol.asyncDispose]())

/** Goes to the identity provider, says who one is, and stops before the console is asked; where that is. */
async function callbackFor(as: string, browser = world.newBrowser(), path = '/') {
  const asked = await browser.get(world.base + path)
  // The browser's own way back is cut off: the console's origin leads nowhere.
  const lost = { ...browser, url: '' }
  const resume = await fetch(`${asked.url.href}?as=${as}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { cookie: cookieHeader(browser.cookies(world.issuer)) },
  })
  const next = new URL(resume.headers.get('location') ?? '', world.issuer)
  const cookies = new Map(browser.cookies(world.issuer))
  for (const line of resume.headers.getSetCookie()) {
    const [pair = ''] = line.split(';')
    cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
  }
  const sent = await fetch(next, { redirect: 'manual', headers: { cookie: cookieHeader(cookies) } })
  return { browser: lost as typeof browser, callback: new URL(sent.headers.get('location') ?? '') }
}

function cookieHeader(cookies: ReadonlyMap<string, string>): string {
  return [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
}

describe('signing in', () => {
  it('leads a person through the identity provider to the page they asked for', async () => {
    const { seen } = await world.signIn('finn', { path: `/approvals/${ID}` })
    expect(seen.status).toBe(200)
    expect(seen.url.pathname).toBe(`/approvals/${ID}`)
    expect(seen.text).toContain('Finn from finance')
  })

  it('asks with a code challenge, a state and a nonce, and for no token in the URL', async () => {
    const { redirects } = await world.newBrowser().get(world.base)
    const asked = redirects.find(({ origin }) => origin === world.issuer)
    expect(Object.fromEntries(asked?.searchParams ?? [])).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      redirect_uri: `${world.base}/sign-in/callback`,
    })
  })

  it('works with what the provider sent back, once', async () => {
    const { browser, callback } = await callbackFor('finn')
    const sealed = browser.cookies(world.base).get('countersign-sign-in') ?? ''
    expect((await browser.get(callback.href)).text).toContain('Finn from finance')
    const again = await browser.get(callback.href)
    expect([again.status, again.url.pathname]).toEqual([403, '/sign-in/callback'])
    // Even with the cookie that was taken away meanwhile.
    browser.setCookie(world.base, 'countersign-sign-in', sealed)
    const replayed = await browser.get(callback.href)
    expect([replayed.status, replayed.text]).toEqual([403, expect.stringContaining('invalid_grant')])
  })

  it('is refused with another state', async () => {
    const { browser, callback } = await callbackFor('finn')
    callback.searchParams.set('state', 'another')
    const { status, text } = await browser.get(callback.href)
    expect([status, text]).toEqual([403, expect.stringContaining('You are not signed in')])
    expect(browser.cookies(world.base).has('countersign')).toBe(false)
  })

  it('is refused in a browser that did not begin it, whether or not that began one of its own', async () => {
    const { callback } = await callbackFor('finn')
    const stranger = world.newBrowser()
    expect((await stranger.get(callback.href)).status).toBe(403)
    const { browser: other } = await callbackFor('olivia')
    expect((await other.get(callback.href)).status).toBe(403)
    for (const browser of [stranger, other]) expect(browser.cookies(world.base).has('countersign')).toBe(false)
  })

  it('is refused with a cookie that we did not seal', async () => {
    const { browser, callback } = await callbackFor('finn')
    for (const sealed of ['', 'AAAA', 'e30', Buffer.alloc(4000, 7).toString('base64url')]) {
      browser.setCookie(world.base, 'countersign-sign-in', sealed)
      expect((await browser.get(callback.href)).status).toBe(403)
    }
  })

  it('is refused after ten minutes', async () => {
    const { browser, callback } = await callbackFor('finn')
    world.advance(10 * 60_000 + 1)
    const { status, text } = await browser.get(callback.href)
    expect([status, text]).toEqual([403, expect.stringContaining('took too long')])
  })

  it('says what the provider said when it refuses, and shows nothing as more than text', async () => {
    const refused = await world.signIn('nobody')
    expect([refused.seen.status, refused.seen.text]).toEqual([403, expect.stringContaining('access_denied')])
    const { browser, callback } = await callbackFor('finn')
    const state = callback.searchParams.get('state') ?? ''
    const iss = callback.searchParams.get('iss') ?? ''
    const error = '<img src=x>\u202e'
    const { status, text } = await browser.get(
      `${world.base}/sign-in/callback?${new URLSearchParams({ error, state, iss })}`,
    )
    expect(status).toBe(403)
    expect(text).not.toContain('<img')
    expect(text).not.toContain('\u202e')
  })

  it('gives a new session each time: one that somebody put there before is not the one', async () => {
    const browser = world.newBrowser()
    browser.setCookie(world.base, 'countersign', 'A'.repeat(43))
    await world.signIn('finn', { browser })
    expect(browser.cookies(world.base).get('countersign')).not.toBe('A'.repeat(43))
    const { seen } = await world.signIn('finn')
    expect(seen.status).toBe(200)
  })
})

describe('the way back', () => {
  it.each([
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    'https://evil.example',
    'https:evil.example',
    'javascript:alert(1)',
    'evil.example',
    '/\t/evil.example',
    '\n//evil.example',
    '/a\r\nset-cookie: a=b',
    ' //evil.example',
    '/é',
    `/${'a'.repeat(600)}`,
    '',
  ])('leads to the inbox instead of to %j', async (given) => {
    expect(ownPath(given)).toBe('/')
    const query = new URLSearchParams({ return: given })
    const { seen } = await world.signIn('fay', { path: `/sign-in?${query}` })
    expect(seen.url.href).toBe(`${world.base}/`)
  })

  it.each(['/', `/approvals/${ID}`, '/history?after=1.7Q3F000000', '/./%2f/evil'])('may lead to %s', (given) => {
    expect(ownPath(given)).toBe(given)
    expect(new URL(given, world.base).origin).toBe(world.base)
  })
})

describe('an identity provider that is down', () => {
  it('is answered with 503, and what was begun goes on once it is back', async () => {
    const { browser, callback } = await callbackFor('finn')
    world.provider.isDown = true
    const { status, text } = await browser.get(callback.href)
    world.provider.isDown = false
    expect([status, text]).toEqual([503, expect.stringContaining('Not now')])
    const { text: now } = await browser.get(callback.href)
    expect(now).toContain('Finn from finance')
  })

  it('keeps nobody from signing in later', async () => {
    await using fresh = await startConsole(() => [])
    fresh.provider.isDown = true
    const { status } = await fresh.newBrowser().get(fresh.base)
    expect(status).toBe(503)
    fresh.provider.isDown = false
    // Its keys are asked for again a second later.
    await vi.waitFor(async () => expect((await fresh.signIn('finn')).seen.status).toBe(200), { timeout: 10_000 })
  })
})

describe('several identity providers', () => {
  it('are a choice, and each knows its own people', async () => {
    await using two = await startConsole(() => [], { providers: ['okta', 'entra'] })
    const browser = two.newBrowser()
    const choice = await browser.get(`${two.base}/history`)
    expect([choice.status, choice.url.pathname]).toEqual([200, '/sign-in'])
    const links = [...choice.text.matchAll(/href="(\/sign-in\?[^"]+)"/g)].map(([, href = '']) => href)
    expect(links).toHaveLength(2)
    const [, entra] = two.providers
    const asked = await browser.get(two.base + links[1]?.replaceAll('&amp;', '&'))
    expect(asked.url.origin).toBe(entra?.issuer)
    const seen = await browser.post(`${asked.url.href}?as=finn`, {})
    expect([seen.status, seen.url.pathname]).toEqual([200, '/history'])
    expect(seen.text).toContain(entra?.issuer)
    expect((await browser.get(`${two.base}/sign-in?issuer=none`)).status).toBe(404)
  })

  it('may not answer for one another', async () => {
    await using two = await startConsole(() => [], { providers: ['okta', 'entra'] })
    const [okta, entra] = two.providers
    const browser = two.newBrowser()
    const asked = await browser.get(`${two.base}/sign-in?issuer=okta`)
    const state = asked.redirects.find(({ searchParams }) => searchParams.has('state'))?.searchParams.get('state') ?? ''
    expect(asked.url.origin).toBe(okta?.issuer)
    const mixed = new URLSearchParams({ code: 'theirs', state, iss: entra?.issuer ?? '' })
    const { status, text } = await browser.get(`${two.base}/sign-in/callback?${mixed}`)
    expect([status, text]).toEqual([403, expect.stringContaining('You are not signed in')])
    expect(okta?.hits.token).toBe(0)
  })
})
