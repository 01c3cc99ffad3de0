import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { blocks, readPage } from '../docs/pages.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'

const MINUTE = 60_000
const guideSchema = z.object({ people: z.tuple([z.object({ sign_in: z.record(z.string(), z.unknown()) })]) })

function signInOfGuide() {
  const [snippet = ''] = blocks(readPage('docs/identity/google.md'), 'yaml')
  return guideSchema.parse(parse(snippet)).people[0].sign_in
}

let world: ConsoleWorld
const start = async (signIn: unknown) => {
  world = await startConsole(() => [], { isLikeGoogle: true, signIn })
}

async function isSignedIn(browser: Awaited<ReturnType<ConsoleWorld['signIn']>>): Promise<boolean> {
  const { status, url } = await browser.get(`${world.base}/`)
  return status === 200 && url.href === `${world.base}/`
}

describe('with a provider like Google, configured as the guide says', () => {
  beforeAll(() => start(signInOfGuide()))
  afterAll(() => world[Symbol.asyncDispose]())

  it.each(['the first', 'the second'])('%s session of a person is renewed without them', async () => {
    const finn = await world.signIn('finn')
    expect(finn.seen.status).toBe(200)
    world.provider.people.set('finn', { name: 'Finn, renamed', groups: ['finance'] })
    const before = world.provider.hits.token
    world.advance(16 * MINUTE)
    expect((await finn.get(`${world.base}/`)).text).toContain('Finn, renamed')
    expect(world.provider.hits.token).toBe(before + 1)
    world.provider.people.delete('finn')
    world.advance(16 * MINUTE)
    expect(await isSignedIn(finn)).toBe(false)
    world.provider.people.set('finn', { name: 'Finn from finance', groups: ['finance'] })
    world.backToNow()
  })

  it('a sign-in asks for what is configured, and is still bound to the browser that began it', async () => {
    const { redirects } = await world.newBrowser().get(world.base)
    const asked = redirects.find(({ origin }) => origin === world.issuer)
    const sent = asked?.searchParams
    expect(Object.fromEntries(sent ?? [])).toMatchObject({
      access_type: 'offline',
      prompt: 'consent',
      hd: 'acme.example',
      scope: 'openid profile',
      code_challenge_method: 'S256',
      redirect_uri: `${world.base}/sign-in/callback`,
    })
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(sent?.getAll(name)).toEqual([expect.stringMatching(/^[\w-]{43}$/)])
    }
  })
})

describe('with a provider like Google', () => {
  afterEach(() => world[Symbol.asyncDispose]())

  it('only the first session of a person is renewed if consent is not asked for', async () => {
    await start({ browser_scope: 'openid profile', browser_parameters: { access_type: 'offline' } })
    const sessions = [await world.signIn('finn'), await world.signIn('finn')]
    world.advance(16 * MINUTE)
    expect(await Promise.all(sessions.map(isSignedIn))).toEqual([true, false])
  })

  it('a session that got no refresh token ends when it is no longer fresh', async () => {
    await start({ browser_scope: 'openid profile' })
    const finn = await world.signIn('finn')
    expect(await isSignedIn(finn)).toBe(true)
    world.advance(16 * MINUTE)
    expect(await isSignedIn(finn)).toBe(false)
  })
})
