import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fieldOf } from './browser.ts'
import { HOSTILE, hostileCall } from './console-held.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'
import { refund } from './people.ts'

const ID = '7Q3F000000'
const OTHER = '7Q3F000001'
const EVIL = '7Q3F000002'
let world: ConsoleWorld
beforeAll(async () => {
  const { requester } = refund(ID).approval
  const more = (issuer: string) => ({ requester: { ...requester, issuer } })
  world = await startConsole((issuer) => [
    refund(ID, more(issuer)),
    refund(OTHER, more(issuer)),
    hostileCall(EVIL, issuer),
  ])
})
afterAll(() => world[Symbol.asyncDispose]())

const card_hash = refund(ID).approval.cardHash
const FORM = 'application/x-www-form-urlencoded'

describe('a form that is not of this console', () => {
  async function sent(
    how: {
      csrf?: (own: string) => Promise<string> | string
      from?: string | null
      headers?: Record<string, string>
    } = {},
  ) {
    const finn = await world.signIn('finn', { path: `/approvals/${ID}` })
    const own = fieldOf(finn.seen.text, 'csrf')
    const csrf = how.csrf ? await how.csrf(own) : own
    const { from = world.base, headers = {} } = how
    const before = world.queue.ballots.length
    const form = { csrf, card_hash, reason: '' }
    const { status } = await finn.post(`${world.base}/approvals/${ID}/approve`, form, { from, headers })
    return [status, world.queue.ballots.length - before]
  }

  it.each([
    ['without a token', { csrf: () => '' }],
    ['with a token that was guessed', { csrf: () => 'A'.repeat(43) }],
    ['with a part of the token', { csrf: (own: string) => own.slice(0, 42) }],
    ["with another person's token", { csrf: async () => fieldOf((await world.signIn('fay')).seen.text, 'csrf') }],
    [
      'with the token of another session of the same person',
      { csrf: async () => fieldOf((await world.signIn('finn')).seen.text, 'csrf') },
    ],
    ['that names no origin', { from: null }],
    ['of another site', { from: 'https://evil.example' }],
    ['of an origin that is hidden', { from: 'null' }],
    ['of another port of this host', { from: 'http://127.0.0.1:1' }],
    ['of an origin that only begins alike', { from: 'http://127.0.0.1.evil.example' }],
    ['that the browser says is from another site', { headers: { 'sec-fetch-site': 'cross-site' } }],
    ['that the browser says is from a neighbour', { headers: { 'sec-fetch-site': 'same-site' } }],
    ['that the browser says is from nowhere', { headers: { 'sec-fetch-site': 'none' } }],
  ])('is refused %s', async (_case, how) => {
    expect(await sent(how)).toEqual([403, 0])
  })

  it.each([
    ['JSON', 'application/json', (csrf: string) => JSON.stringify({ csrf, card_hash })],
    ['text', 'text/plain', (csrf: string) => `csrf=${csrf}&card_hash=${card_hash}`],
    [
      'a multipart form',
      'multipart/form-data; boundary=x',
      (csrf: string) => `--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n${csrf}\r\n--x--`,
    ],
    ['two tokens', FORM, (csrf: string) => `csrf=${csrf}&csrf=${csrf}&card_hash=${card_hash}`],
    ['two cards', FORM, (csrf: string) => `csrf=${csrf}&card_hash=${card_hash}&card_hash=${'0'.repeat(64)}`],
    [
      'more than any vote needs',
      FORM,
      (csrf: string) => `csrf=${csrf}&card_hash=${card_hash}&reason=${'x'.repeat(20_000)}`,
    ],
  ])('votes nothing as %s', async (_case, type, write) => {
    const finn = await world.signIn('finn', { path: `/approvals/${ID}` })
    const cookie = `countersign=${finn.cookies(world.base).get('countersign')}`
    const response = await fetch(`${world.base}/approvals/${ID}/approve`, {
      method: 'POST',
      headers: { cookie, origin: world.base, 'content-type': type },
      body: write(fieldOf(finn.seen.text, 'csrf')),
    })
    expect([400, 403, 413, 415]).toContain(response.status)
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(world.queue.ballots).toEqual([])
  })
})

describe('who somebody is', () => {
  it('is told by the cookie alone: a bearer token, of whomever, is nobody on a page', async () => {
    for (const token of ['finn', 'an.agents.token']) {
      const { url } = await world
        .newBrowser()
        .get(`${world.base}/approvals/${ID}`, { authorization: `Bearer ${token}` })
      expect(url.origin).toBe(world.issuer)
    }
  })

  it('is told to the approver API by a token alone: the cookie is nobody there', async () => {
    const finn = await world.signIn('finn', { path: `/approvals/${ID}` })
    expect((await finn.get(`${world.base}/v1/whoami`)).status).toBe(401)
    const csrf = fieldOf(finn.seen.text, 'csrf')
    const seen = await finn.post(`${world.base}/v1/approvals/${ID}/approve`, { csrf, card_hash, reason: '' })
    expect(seen.status).toBe(401)
    expect(world.queue.ballots).toEqual([])
  })
})

describe('what an agent wrote', () => {
  it.each(['/', `/approvals/${EVIL}`, `/approvals/${ID}`])('is text on %s, and all of it can be seen', async (path) => {
    const { seen } = await world.signIn('finn', { path })
    expect(seen.status).toBe(200)
    expect(seen.text).toContain('&lt;img src=x onerror=alert(2)&gt;')
    expect(seen.text).toContain('⟨U+202E⟩⟨U+2066⟩evil⟨U+0000⟩')
    expect(seen.text).not.toMatch(/<img|<script>|onerror=alert\(2\)>|[\u202e\u2066\0]/)
    expect(seen.text.match(/<script/g)).toHaveLength(1)
    expect(seen.text.match(/<\/title>/g)).toHaveLength(1)
    // Without what is hostile there is the same structure: nothing of it became an element or an attribute.
    expect(seen.text).not.toContain(HOSTILE)
  })

  it('is text in the answer to a vote that is not counted', async () => {
    const finn = await world.signIn('finn', { path: `/approvals/${OTHER}` })
    const form = { csrf: fieldOf(finn.seen.text, 'csrf'), card_hash: '0'.repeat(64), reason: '</textarea><img src=x>' }
    const { status, text } = await finn.post(`${world.base}/approvals/${OTHER}/deny`, form)
    expect([status, text.includes('<img')]).toEqual([409, false])
  })
})
