import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AssuranceNeed } from '../../src/domain/verdict.ts'
import { startWhole, type WholeWorld } from '../browser/world.ts'
import { fieldOf, openBrowser } from './browser.ts'
import { listenFor } from './listening.ts'
import { fakeQueue, personOf, refund } from './people.ts'

const POLICY = `
name: billing
rules:
  - name: fresh
    upstreams: [billing]
    verbs: [POST]
    resources: ["/fresh/**"]
    effect: hold
    approval: { reviewers: ["group:finance"], assurance: fresh, max_age: 5m }
  - name: passkey
    upstreams: [billing]
    verbs: [POST]
    resources: ["/passkey/**"]
    effect: hold
    approval: { reviewers: ["group:finance"], assurance: passkey }
`

describe('a rule that asks for a fresh sign-in', () => {
  let world: WholeWorld
  beforeAll(async () => {
    world = await startWhole({}, { policy: POLICY })
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const stateOf = async (id: string) =>
    (await world.admin.query('SELECT state FROM countersign.approval WHERE id = $1', [id])).rows[0]?.state

  async function standBefore(path: string) {
    const id = await world.abandon(world.gateway, path)
    const browser = openBrowser()
    const asked = await browser.get(`${world.base}/approvals/${id}`)
    const { text } = await browser.post(`${asked.url.href}?as=finn`, {})
    const form = (page: string) => ({ csrf: fieldOf(page, 'csrf'), card_hash: fieldOf(page, 'card_hash') })
    return { id, browser, text, form }
  }

  it('sends the person through one, and takes the vote then', async () => {
    const path = '/fresh/1'
    const { id, browser, text, form } = await standBefore(path)
    expect(text).toContain('with a sign-in of the last 5 minutes')
    expect(text).not.toContain(`formaction="/approvals/${id}/approve"`)
    const refused = await browser.post(`${world.base}/approvals/${id}/approve`, form(text))
    expect([refused.status, refused.text]).toEqual([409, expect.stringContaining('asks for a fresh sign-in')])
    expect(await stateOf(id)).toBe('pending')

    const again = await browser.get(`${world.base}/sign-in?fresh=1&return=/approvals/${id}`)
    expect(again.redirects.some((url) => url.searchParams.has('max_age'))).toBe(true)
    const back = await browser.post(`${again.url.href}?as=finn`, {})
    expect(back.url.pathname).toBe(`/approvals/${id}`)
    expect(back.text).toContain(`formaction="/approvals/${id}/approve"`)
    await browser.post(`${world.base}/approvals/${id}/approve`, form(back.text))
    expect(await stateOf(id)).toBe('approved')
    expect((await world.call(world.gateway, path)).status).toBe(200)
  })

  it('takes a denial as it is', async () => {
    const { id, browser, text, form } = await standBefore('/fresh/2')
    await browser.post(`${world.base}/approvals/${id}/deny`, { ...form(text), reason: 'no' })
    expect(await stateOf(id)).toBe('denied')
  })

  it('or for a passkey takes no approval without one, and says where there can be none', async () => {
    const { id, browser, text, form } = await standBefore('/passkey/1')
    // This console is reached by an address.
    expect(text).toContain('Browsers make no passkeys for the address of this console')
    for (const more of [{}, { sealed: 'x', response: '{}' }]) {
      const refused = await browser.post(`${world.base}/approvals/${id}/approve`, { ...form(text), ...more })
      expect(refused.status).toBe(409)
    }
    expect(await stateOf(id)).toBe('pending')
  })
})

describe('the API', () => {
  async function approve(assurance: AssuranceNeed, agoS: number) {
    const [asked] = refund('7Q3F000000').approval.requirements
    if (!asked) throw new Error('nothing is asked for')
    const held = refund('7Q3F000000', { requirements: [{ ...asked, assurance }] })
    const finn = { ...personOf('finn', { groups: ['finance'] }), authenticatedAt: Math.floor(Date.now() / 1000) - agoS }
    const { base } = await listenFor([finn], { queue: fakeQueue([held]), console: null, publicUrl: null })
    const response = await fetch(`${base}/v1/approvals/7Q3F000000/approve`, {
      method: 'POST',
      headers: { authorization: 'Bearer finn', 'content-type': 'application/json' },
      body: JSON.stringify({ card_hash: held.approval.cardHash }),
    })
    const { code } = (await response.json()) as { code?: string }
    return { status: response.status, code, challenge: response.headers.get('www-authenticate') }
  }

  it('says which sign-in to come back with (RFC 9470)', async () => {
    const fresh = { kind: 'fresh', maxAgeMs: 120_000 } as const
    expect(await approve(fresh, 121)).toEqual({
      status: 401,
      code: 'assurance_required',
      challenge: 'Bearer error="insufficient_user_authentication", max_age="120"',
    })
    expect((await approve(fresh, 10)).status).toBe(200)
  })

  it('says that a passkey is used elsewhere', async () => {
    const { status, code, challenge } = await approve({ kind: 'passkey' }, 1)
    expect([status, code]).toEqual([401, 'assurance_required'])
    expect(challenge).toMatch(
      /^Bearer error="insufficient_user_authentication", error_description="[^"]*passkey[^"]*"$/,
    )
  })
})
