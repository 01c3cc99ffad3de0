import { describe, expect, it } from 'vitest'
import type { Approval } from '../../src/domain/approval.ts'
import type { Change, Precedent, Precedents } from '../../src/domain/precedent.ts'
import { fieldOf } from './browser.ts'
import { HOSTILE } from './console-held.ts'
import { listenFor, PUBLIC_URL } from './listening.ts'
import { fakeQueue, ISSUER, personOf, refund } from './people.ts'

const ID = '7Q3F000000'
const FINN = personOf('finn', { groups: ['finance'] })
const RITA = personOf('rita', { groups: ['finance'] })
const OLIVIA = personOf('olivia', { groups: ['finance'] })
const AUD = personOf('aud', { roles: ['reviewer', 'auditor'] })
const PEOPLE = [FINN, RITA, OLIVIA, AUD, personOf('stranger')]

async function serve(precedents: Precedents | null = null, more: Partial<Approval> = {}) {
  const queue = fakeQueue([{ ...refund(ID, more), precedents }])
  const { base, browserOf } = await listenFor(PEOPLE, { queue })

  function browse(as: string) {
    const browser = browserOf(as)
    const get = async (path = `/approvals/${ID}`) => browser.get(PUBLIC_URL + path)
    async function press(way: 'claim' | 'release', how: Record<string, string> = {}) {
      const csrf = fieldOf((await get('/')).text, 'csrf')
      return browser.post(`${PUBLIC_URL}/approvals/${ID}/${way}`, { csrf, ...how })
    }
    return { get, press }
  }
  async function ask(token: string, path: string, body: object | null = null) {
    const headers = { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) }
    const init = body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers }
    const response = await fetch(`${base}/v1/approvals/${ID}${path}`, init)
    // Every answer of the API is a JSON object.
    return { status: response.status, json: (await response.json()) as Record<string, unknown> }
  }
  return { browse, ask }
}

const section = (text: string, id: string) => text.split(`id="${id}"`)[1]?.split('</section>')[0] ?? ''

describe('saying that one is looking at an approval, in the console', () => {
  it('takes one press, and the others see it', async () => {
    const { browse } = await serve()
    const finn = browse('finn')
    expect(section((await finn.get()).text, 'claim')).toContain('I am looking at this')
    const pressed = await finn.press('claim')
    expect([pressed.status, pressed.url.pathname]).toEqual([200, `/approvals/${ID}`])
    expect(section(pressed.text, 'claim')).toMatch(/You are looking at this.*I am not looking at it any more/s)
    const others = section((await browse('rita').get()).text, 'claim')
    expect(others).toMatch(
      /finn the person<\/span> is looking at this \(<time.*Others may vote all the same.*Take it over/s,
    )
    expect((await browse('rita').get('/')).text).toContain('finn the person</span> is looking at this')
    expect(section((await browse('rita').get()).text, 'decision')).toContain('>Approve</button>')
  })

  it('is let go by that person, and taken over by another', async () => {
    const { browse } = await serve()
    await browse('finn').press('claim')
    const refused = await browse('rita').press('release')
    expect([refused.status, refused.text.includes('Somebody else is looking at it')]).toEqual([409, true])
    expect(section((await browse('rita').press('claim')).text, 'claim')).toContain('You are looking at this')
    expect(section((await browse('rita').press('release')).text, 'claim')).toContain('I am looking at this')
  })

  it('is not offered to the requesting side, nor to an auditor, who see who does', async () => {
    const { browse } = await serve()
    await browse('finn').press('claim')
    for (const [who, status] of [
      ['olivia', 409],
      ['aud', 409],
    ] as const) {
      const shown = section((await browse(who).get()).text, 'claim')
      expect(shown).toContain('is looking at this')
      expect(shown).not.toContain('<button')
      expect((await browse(who).press('claim')).status).toBe(status)
    }
    const hidden = await browse('stranger').press('claim')
    expect([hidden.status, hidden.text.includes('refunds')]).toEqual([404, false])
  })

  it('takes no form of another site, and none without its token', async () => {
    const { browse } = await serve()
    expect((await browse('finn').press('claim', { csrf: 'guessed' })).status).toBe(403)
    expect(section((await browse('rita').get()).text, 'claim')).not.toContain('is looking')
  })

  it('is nothing once it is decided', async () => {
    const claim = {
      reviewer: { issuer: ISSUER, subject: 'finn', name: 'Finn' },
      via: 'api',
      at: 0,
      until: 1_800_000_000_000,
    }
    const { browse } = await serve(null, { state: 'denied', decidedAt: 1_700_000_000_000, claim })
    expect(section((await browse('rita').get()).text, 'claim').replace(/[^>]*>/, '')).toBe('')
  })
})

describe('saying so through the API', () => {
  it('answers with who is looking, and everybody is shown it', async () => {
    const { ask } = await serve()
    const { status, json } = await ask('finn', '/claim', {})
    expect([status, json]).toMatchObject([
      200,
      { changed: true, approval: { claim: { reviewer: { subject: 'finn' }, via: 'api' } } },
    ])
    expect((await ask('rita', '')).json).toMatchObject({ approval: { claim: { reviewer: { subject: 'finn' } } } })
    expect(await ask('rita', '/release', {})).toMatchObject({ status: 403, json: { code: 'not_claimant' } })
    expect((await ask('finn', '/release', {})).json).toMatchObject({ changed: true })
    expect((await ask('rita', '')).json['approval']).not.toHaveProperty('claim')
  })

  it.each([
    ['olivia', {}, 403, 'self_approval'],
    ['aud', {}, 403, 'not_entitled'],
    ['stranger', {}, 404, 'not_found'],
    ['finn.read', {}, 403, 'read_only_token'],
    ['nobody', {}, 401, 'unauthenticated'],
    ['finn', { until: 'tomorrow' }, 400, 'malformed'],
  ])('refuses %s with %o', async (token, body, status, code) => {
    const { ask } = await serve()
    for (const way of ['claim', 'release']) {
      expect(await ask(token, `/${way}`, body)).toMatchObject({ status, json: { code } })
    }
  })

  it('says that it is too late', async () => {
    const { ask } = await serve(null, { state: 'spent', decidedAt: 1_700_000_000_000 })
    expect(await ask('finn', '/claim', {})).toMatchObject({ status: 409, json: { code: 'already_decided' } })
  })
})

const reviewer = { issuer: ISSUER, subject: 'rita', name: 'Rita' }

function precedentOf(changes: readonly Change[], more: Partial<Precedent['difference']> = {}): Precedent {
  return {
    approval: '7Q3F000009',
    at: 1_700_000_000_000,
    by: [{ reviewer, reason: 'as agreed', via: 'console' }],
    difference: { extent: 'content', changes, more: 0, unseen: ['off_card'], ...more },
  }
}

function precedents(more: Partial<Precedents> = {}): Precedents {
  return {
    withinMs: 86_400_000,
    isPartial: false,
    approved: 0,
    identical: 0,
    overridden: 0,
    granted: 0,
    denied: 0,
    approvers: [],
    lastApproved: null,
    lastDenied: null,
    ...more,
  }
}

const BEFORE = precedents({
  approved: 3,
  identical: 0,
  denied: 1,
  granted: 2,
  isPartial: true,
  approvers: [{ reviewer, times: 3 }],
  lastApproved: precedentOf([
    { at: '/amount', before: '12', now: '120' },
    { at: '/note', before: null, now: '' },
  ]),
  lastDenied: precedentOf([], { extent: 'none', unseen: [] }),
})

describe('what was decided before', () => {
  it('is on the page, as something that the gateway found', async () => {
    const { browse } = await serve(BEFORE)
    const { text } = await browse('finn').get()
    const [, , before = ''] = text.split('class="block derived"')
    const shown = before.split('</section>')[0] ?? ''
    expect(shown).toContain('found by the gateway in its own records')
    expect(shown).toContain(
      'Denied once; approved 3 times, none of them with the same content; let through twice by grants, which nobody looked at.',
    )
    expect(shown).toContain('There were more; the newest are counted.')
    expect(shown).toMatch(/Approved by <span title="[^"]*\|rita">Rita<\/span> \(3 times\)/)
    expect(shown).toMatch(/Denied last.*The same call, to the last byte\..*Approved last.*What differs here:/s)
    expect(shown).toContain('<dt><code>/amount</code></dt><dd><code>12</code> → <b><code>120</code></b></dd>')
    expect(shown).toContain('<i>not there</i> → <b><i>empty</i></b>')
    expect(shown).toContain('<q>as agreed</q>')
    expect(shown).toContain('href="/approvals/7Q3F000009"')
    expect(shown).toContain('Headers that cards do not show')
    expect(text.split('class="block claimed"')[1]?.split('</section>')[0]).not.toContain('Decided before')
  })

  it('says that there is nothing, or that nothing visible differs', async () => {
    const none = await serve(precedents())
    expect((await none.browse('finn').get()).text).toContain('Nothing was decided on such a call.')
    const hidden = await serve(
      precedents({ approved: 1, lastApproved: precedentOf([], { unseen: ['hidden', 'off_card'] }) }),
    )
    const { text } = await hidden.browse('finn').get()
    expect(text).toContain('It differs, but in nothing that the cards show.')
    expect(text).toContain('What was replaced as a secret, or cut')
  })

  it('counts what is not listed', async () => {
    const { browse } = await serve(
      precedents({ approved: 1, lastApproved: precedentOf([{ at: '/a', before: '1', now: '2' }], { more: 30 }) }),
    )
    expect((await browse('finn').get()).text).toContain('and 30 more that are not listed')
  })

  it('is escaped, with what would be invisible written out, whatever anybody wrote', async () => {
    const hostile = { issuer: HOSTILE, subject: HOSTILE, name: HOSTILE }
    const changes = [{ at: HOSTILE, before: HOSTILE, now: HOSTILE }]
    const last = { ...precedentOf(changes), by: [{ reviewer: hostile, reason: HOSTILE, via: HOSTILE }] }
    const claim = { reviewer: hostile, via: HOSTILE, at: 1_700_000_000_000, until: 1_800_000_000_000 }
    const all = precedents({
      approved: 1,
      denied: 1,
      approvers: [{ reviewer: hostile, times: 2 }],
      lastApproved: last,
      lastDenied: last,
    })
    const { browse } = await serve(all, { claim })
    for (const path of ['/', `/approvals/${ID}`]) {
      const { text } = await browse('finn').get(path)
      expect(text).not.toMatch(/<script>|<img|onerror=alert\(2\)>|\u202e|\u2066|\0/)
      expect(text).toContain('&lt;script&gt;')
      expect(text).toContain('⟨U+202E⟩')
    }
  })

  it('is told by the API, in its own words', async () => {
    const { ask } = await serve(BEFORE)
    expect((await ask('finn', '')).json['precedents']).toMatchObject({
      within_s: 86_400,
      partial: true,
      approved: 3,
      identical: 0,
      granted: 2,
      denied: 1,
      approvers: [{ reviewer, times: 3 }],
      last_approved: {
        approval: '7Q3F000009',
        at: '2023-11-14T22:13:20.000Z',
        by: [{ reviewer, reason: 'as agreed', via: 'console' }],
        difference: {
          extent: 'content',
          changes: [{ at: '/amount', before: '12', now: '120' }, {}],
          more: 0,
          unseen: ['off_card'],
        },
      },
    })
  })
})
