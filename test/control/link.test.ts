import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { startWhole, type WholeWorld } from '../browser/world.ts'
import { type FakeSlack, startFakeSlack } from '../fakes/slack/server.ts'
import { type Browser, fieldOf, openBrowser, type Seen } from './browser.ts'

const APPROVE = 'countersign.approve'
const PATIENCE = { timeout: 20_000, interval: 50 }

let slack: FakeSlack
let world: WholeWorld
beforeAll(async () => {
  slack = await startFakeSlack()
  for (const id of ['U0FINN', 'U0FAY', 'U0MALLORY']) slack.addUser({ id })
  world = await startWhole({
    channels: {
      slack: {
        bot_token: slack.state.botToken,
        app_token: slack.state.appToken,
        channel: 'C024FAKE',
        api_url: slack.apiUrl,
        client_id: slack.openid.clientId,
        client_secret: slack.openid.clientSecret,
      },
    },
  })
  slack.openid.redirectUrls.add(`${world.base}/link/slack/callback`)
  await slack.sockets.connected()
})
afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
  await slack?.close()
})
beforeEach(async () => {
  tests += 1
  finn = `finn-${tests}`
  world.provider.people.set(finn, { name: 'Finn from finance', groups: ['finance'] })
  Object.assign(slack.openid, { signedInAs: null, teamOf: null, isForging: false, alter: (claims: object) => claims })
  await world.admin.query('DELETE FROM countersign.chat_link')
})

let calls = 0
/** Somebody else in each test: the console slows down whoever asks too often. */
let finn = ''
let tests = 0
let waiting: ReturnType<typeof held> | null = null
/** A call that is held, with its card. */
async function held() {
  calls += 1
  const id = await world.abandon(world.gateway, `/refunds/${calls}`)
  const message = await vi.waitFor(() => {
    const found = slack.state.messages.find((one) => JSON.stringify(one.blocks).includes(id))
    if (!found) throw new Error('no card yet')
    return found
  }, PATIENCE)
  return { id, message }
}

/** Presses Approve, and gives what that person alone is told. */
async function press(user: string, { message }: Awaited<ReturnType<typeof held>>): Promise<string> {
  const before = slack.state.ephemerals.length
  await slack.press(user, message, APPROVE)
  const told = await vi.waitFor(() => {
    const found = slack.state.ephemerals.slice(before).find((one) => one.user === user)
    if (!found) throw new Error('told nothing yet')
    return found
  }, PATIENCE)
  return told.text
}

/** The link that somebody is sent who presses the button of a card that nobody decides. */
async function invite(user: string): Promise<string> {
  waiting ??= held()
  const text = await press(user, await waiting)
  const link = /<(http[^|>]+)\|/.exec(text)?.[1]
  if (link === undefined) throw new Error(`no link in: ${text}`)
  return link
}

/** Opens a page, signing in at the identity provider where that leads. */
async function open(browser: Browser, url: string, as: string): Promise<Seen> {
  const seen = await browser.get(url)
  return seen.url.origin === world.base ? seen : browser.post(`${seen.url.href}?as=${as}`, {})
}

/** Goes on from the page that a link opened to Slack and back. */
function goToSlack(browser: Browser, link: string): Promise<Seen> {
  return browser.get(link.replace('/link/slack?', '/link/slack/start?'))
}

function confirm(browser: Browser, { text }: Seen, more: Record<string, string> = {}): Promise<Seen> {
  const form = { csrf: fieldOf(text, 'csrf'), proof: fieldOf(text, 'proof'), ...more }
  return browser.post(`${world.base}/link/slack`, form)
}

/** All of it, as one person who is the same everywhere. */
async function link(user: string, as: string) {
  slack.openid.signedInAs = user
  const browser = openBrowser()
  const url = await invite(user)
  await open(browser, url, as)
  const seen = await confirm(browser, await goToSlack(browser, url))
  return { browser, url, seen }
}

async function links() {
  const { rows } = await world.admin.query('SELECT account, subject FROM countersign.chat_link')
  return rows
}

const stateOf = async (id: string) =>
  (await world.admin.query('SELECT state FROM countersign.approval WHERE id = $1', [id])).rows[0]?.state

describe('linking a Slack account', () => {
  it('goes from the first press over both sign-ins and a form to a vote that counts', async () => {
    const card = await held()
    const told = await press('U0FINN', card)
    expect(told).toMatch(/^Nothing was recorded\. .*not linked.*<http/)
    expect(await stateOf(card.id)).toBe('pending')

    slack.openid.signedInAs = 'U0FINN'
    const url = /<(http[^|>]+)\|/.exec(told)?.[1] ?? ''
    const browser = openBrowser()
    const offered = await open(browser, url, finn)
    expect([offered.status, offered.text]).toEqual([200, expect.stringContaining('Finn from finance')])
    const back = await goToSlack(browser, url)
    expect([back.status, back.text]).toEqual([200, expect.stringContaining('U0FINN of T024FAKE')])
    expect(await links()).toEqual([])
    const done = await confirm(browser, back)
    expect([done.status, done.url.pathname]).toEqual([200, '/me'])
    expect(done.text).toContain('U0FINN')
    expect(await links()).toEqual([{ account: 'U0FINN', subject: finn }])

    await slack.press('U0FINN', card.message, APPROVE)
    await vi.waitFor(async () => expect(await stateOf(card.id)).toBe('approved'), PATIENCE)
    const { rows } = await world.admin.query(
      `SELECT reviewer, convert_from(body, 'UTF8') AS body FROM countersign.audit_log WHERE approval_id = $1 AND kind = 'vote'`,
      [card.id],
    )
    expect(rows).toEqual([
      { reviewer: `${world.provider.issuer}|${finn}`, body: expect.stringContaining('"assurance":"slack"') },
    ])
  })

  it('lets a call go while it stands, and not once it was ended', async () => {
    for (const isUnlinked of [false, true]) {
      await world.admin.query('DELETE FROM countersign.chat_link')
      await link('U0FINN', finn)
      const card = await held()
      const path = `/refunds/${calls}`
      await slack.press('U0FINN', card.message, APPROVE)
      await vi.waitFor(async () => expect(await stateOf(card.id)).toBe('approved'), PATIENCE)
      if (isUnlinked) await world.admin.query('DELETE FROM countersign.chat_link')
      expect((await world.call(world.gateway, path)).status).toBe(isUnlinked ? 403 : 200)
      expect(await stateOf(card.id)).toBe(isUnlinked ? 'withdrawn' : 'spent')
    }
  })

  it('asks Slack for the account alone, of the workspace that the button was pressed in', async () => {
    await link('U0FINN', finn)
    const query = slack.openid.requests.at(-1)
    expect(Object.fromEntries(query ?? [])).toEqual({
      client_id: slack.openid.clientId,
      redirect_uri: `${world.base}/link/slack/callback`,
      response_type: 'code',
      scope: 'openid profile',
      team: 'T024FAKE',
      state: expect.stringMatching(/^.{43}$/),
      nonce: expect.stringMatching(/^.{43}$/),
    })
  })
})

describe('a link that', () => {
  it('was passed on binds nothing, whoever opens it', async () => {
    // Mallory pressed, and sends what she got to Finn, who is signed in to Slack as himself.
    const url = await invite('U0MALLORY')
    slack.openid.signedInAs = 'U0FINN'
    const his = openBrowser()
    await open(his, url, finn)
    const back = await goToSlack(his, url)
    expect([back.status, back.text]).toEqual([403, expect.stringContaining('as another account')])
    expect(back.text).not.toContain('name="proof"')
    expect(await links()).toEqual([])
  })

  it('was stolen binds nothing for the thief', async () => {
    const url = await invite('U0FINN')
    slack.openid.signedInAs = 'U0MALLORY'
    const mallory = openBrowser()
    await open(mallory, url, 'fay')
    expect((await goToSlack(mallory, url)).text).toContain('as another account')
    expect(await links()).toEqual([])
    // And Finn's is still good.
    slack.openid.signedInAs = 'U0FINN'
    const his = openBrowser()
    await open(his, url, finn)
    await confirm(his, await goToSlack(his, url))
    expect(await links()).toEqual([{ account: 'U0FINN', subject: finn }])
  })

  it('was used is of no more use', async () => {
    const { browser, url } = await link('U0FINN', finn)
    await browser.get(`${world.base}/me`)
    await world.admin.query('DELETE FROM countersign.chat_link')
    await open(browser, url, finn)
    const again = await confirm(browser, await goToSlack(browser, url))
    expect([again.status, again.text]).toEqual([403, expect.stringContaining('used already')])
    expect(await links()).toEqual([])
  })

  it('is made up opens nothing', async () => {
    const browser = openBrowser()
    const seen = await open(browser, `${world.base}/link/slack?ticket=made-up`, finn)
    expect([seen.status, seen.text]).toEqual([403, expect.stringContaining('not one of ours')])
  })
})

describe('coming back from Slack', () => {
  async function atSlack() {
    slack.openid.signedInAs = 'U0FINN'
    const url = await invite('U0FINN')
    const browser = openBrowser()
    await open(browser, url, finn)
    return { url, browser }
  }

  it('counts in the browser that left only', async () => {
    const { url, browser } = await atSlack()
    const back = await goToSlack(browser, url)
    const callback = back.redirects.at(-1)?.href ?? ''
    const other = openBrowser()
    await open(other, `${world.base}/me`, 'fay')
    expect((await other.get(callback)).text).toContain('another browser')
    // Nor twice in the same one.
    expect((await browser.get(callback)).status).toBe(403)
  })

  it('needs somebody who is signed in here', async () => {
    const { url, browser } = await atSlack()
    await goToSlack(browser, url)
    const nobody = openBrowser()
    const seen = await nobody.get(`${world.base}/link/slack/callback?code=x&state=y`)
    expect(seen.url.origin).toBe(world.provider.issuer)
  })

  it.each<[string, () => void]>([
    ['an ID token that somebody else signed', () => Object.assign(slack.openid, { isForging: true })],
    ['one for another client', () => Object.assign(slack.openid, { alter: (c: object) => ({ ...c, aud: '999.1' }) })],
    [
      'one of another issuer',
      () => Object.assign(slack.openid, { alter: (c: object) => ({ ...c, iss: 'https://evil.example' }) }),
    ],
    ['one with another nonce', () => Object.assign(slack.openid, { alter: (c: object) => ({ ...c, nonce: 'x' }) })],
    ['one that has ended', () => Object.assign(slack.openid, { alter: (c: object) => ({ ...c, exp: 1_700_000_000 }) })],
    [
      'one without the account',
      () => Object.assign(slack.openid, { alter: (c: object) => ({ ...c, 'https://slack.com/user_id': undefined }) }),
    ],
    ['the account of the same id in another workspace', () => Object.assign(slack.openid, { teamOf: 'T0OTHER' })],
    ['a person who said no', () => Object.assign(slack.openid, { signedInAs: null })],
  ])('is refused with %s', async (_, go) => {
    const { url, browser } = await atSlack()
    go()
    const back = await goToSlack(browser, url)
    expect(back.status).toBe(403)
    expect(back.text).not.toContain('name="proof"')
  })

  it('takes no form without the token of this console, and no proof of another session', async () => {
    const { url, browser } = await atSlack()
    const back = await goToSlack(browser, url)
    expect((await confirm(browser, back, { csrf: 'x' })).status).toBe(403)
    const other = openBrowser()
    const me = await open(other, `${world.base}/agents`, 'fay')
    const stolen = await confirm(other, back, { csrf: fieldOf(me.text, 'csrf') })
    expect([stolen.status, stolen.text]).toEqual([403, expect.stringContaining('another browser')])
    expect(await links()).toEqual([])
  })
})

describe('who is linked', () => {
  it('is one account a person, and one person an account', async () => {
    await link('U0FINN', finn)
    expect((await link('U0MALLORY', finn)).seen.text).toContain('another Slack account')
    await world.admin.query('DELETE FROM countersign.chat_link')
    await link('U0FINN', finn)
    expect(await links()).toEqual([{ account: 'U0FINN', subject: finn }])
  })

  it('may end it, and then has to link again; others may not', async () => {
    const { browser } = await link('U0FINN', finn)
    const { text } = await browser.get(`${world.base}/me`)
    const id = fieldOf(text, 'id')
    const fay = openBrowser()
    const page = await open(fay, `${world.base}/me`, 'fay')
    expect(page.text).not.toContain('U0FINN')
    const refused = await fay.post(`${world.base}/me/links/remove`, { csrf: fieldOf(page.text, 'csrf'), id })
    expect(refused.status).toBe(403)
    await browser.post(`${world.base}/me/links/remove`, { csrf: fieldOf(text, 'csrf'), id })
    expect(await links()).toEqual([])
    expect(await press('U0FINN', await held())).toContain('not linked')
  })

  it('is listed for admins, who may end it', async () => {
    await link('U0FINN', finn)
    const aud = openBrowser()
    const { text } = await open(aud, `${world.base}/me`, 'aud')
    expect(text).toContain('U0FINN')
    const after = await aud.post(`${world.base}/me/links/remove`, {
      csrf: fieldOf(text, 'csrf'),
      id: fieldOf(text, 'id'),
    })
    expect([after.status, after.url.pathname]).toEqual([200, '/me'])
    expect(await links()).toEqual([])
  })
})
