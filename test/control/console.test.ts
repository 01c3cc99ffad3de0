import { describe, expect, it } from 'vitest'
import { ACCESS } from '../../src/control/access.ts'
import { PAGES } from '../../src/control/console/access.ts'
import type { ApprovalDesk } from '../../src/control/desk.ts'
import type { ControlParts } from '../../src/control/server.ts'
import { GatewayError } from '../../src/domain/error.ts'
import { ROLES } from '../../src/domain/principal.ts'
import { fieldOf } from './browser.ts'
import { listenFor, PUBLIC_URL } from './listening.ts'
import { fakeQueue, personOf, refund } from './people.ts'

const ID = '7Q3F000000'
const PEOPLE = [
  personOf('finn', { groups: ['finance'] }),
  personOf('aud', { roles: ['reviewer', 'auditor'] }),
  personOf('stranger'),
  ...ROLES.map((role) => personOf(`only-${role}`, { roles: [role], groups: ['finance'] })),
]

async function serve(more: Partial<ControlParts> = {}) {
  const queue = fakeQueue([refund(ID)])
  const { app, base, browserOf } = await listenFor(PEOPLE, { queue, ...more })

  function browse(as: string | null) {
    const browser = browserOf(as)
    const get = (path: string) => browser.get(PUBLIC_URL + path)
    async function post(path: string, form: Record<string, string>, how?: Parameters<typeof browser.post>[2]) {
      const csrf = as === null ? '' : fieldOf((await get('/')).text, 'csrf')
      return browser.post(PUBLIC_URL + path, { csrf, ...form }, how)
    }
    return { ...browser, get, post }
  }
  return { app, browse, queue, base }
}

const LINK_ID = '0d6d1ec6-6a3c-4f0c-8a52-6f5a3a1d2b3c'
const OPENED: Readonly<Record<string, number>> = {
  'POST /approvals/:id/grant': 400,
  'POST /approvals/:id/override': 409,
  'POST /grants/:id/revoke': 404,
  'POST /me/delegations': 403,
  'POST /me/delegations/end': 403,
  'POST /me/links/remove': 403,
  'POST /me/passkeys': 403,
  'POST /me/passkeys/remove': 403,
  'GET /link/:service': 403,
  'GET /link/:service/start': 403,
  'GET /link/:service/callback': 403,
  'POST /link/:service': 403,
}
const NOT_FOR_YOU = 'This page is not for you'
const ballot = { card_hash: refund(ID).approval.cardHash, reason: 'because' }

/** Asks for a page, or sends the form that it takes. */
function visit(name: string, browser: Awaited<ReturnType<Awaited<ReturnType<typeof serve>>['browse']>>) {
  const [method = '', path = ''] = name.split(' ')
  const at = path.replace(':id', ID).replace(':service', 'slack').replace(':seq', '2').replace(':population', 'calls')
  const call = { principal: 'https://idp.example.com|a', upstream: 'billing', verb: 'POST', resource: '/refunds' }
  const form = {
    id: LINK_ID,
    ...ballot,
    ...call,
    question: 'Why?',
    issuer: 'https://idp.example.com',
    subject: 'support-agent',
  }
  return method === 'GET' ? browser.get(at) : browser.post(at, form)
}

describe('page × role', () => {
  // The stream of changes has no end to read to; its tests are beside it.
  const names = Object.keys(PAGES).filter((name) => name !== 'GET /live')
  const matrix = names.flatMap((name) => {
    const roles: readonly string[] = PAGES[name as keyof typeof PAGES]
    return ROLES.map((role) => ({ name, role, opens: roles.includes(role) }))
  })

  it.each(matrix)('$role at $name: $opens', async ({ name, role, opens }) => {
    const { browse, queue } = await serve()
    const { status, text } = await visit(name, browse(`only-${role}`))
    // Nobody has a ticket here, a link or a grant, or signed in just now: these pages say so themselves.
    if (opens) expect([status, text.includes(NOT_FOR_YOU)]).toEqual([OPENED[name] ?? 200, false])
    else expect([status, text.includes(NOT_FOR_YOU)]).toEqual([403, true])
    if (!opens) expect(queue.ballots).toEqual([])
  })

  it.each(names)('nobody who is not signed in at %s', async (name) => {
    const { browse, queue } = await serve()
    const seen = await visit(name, browse(null))
    if (name.startsWith('GET')) expect(seen.url.pathname).toBe('/sign-in')
    else expect(seen.status).toBe(401)
    expect(queue.ballots).toEqual([])
  })

  it('opens the stream of changes to those who may look, and to nobody else', async () => {
    const { base } = await serve()
    for (const role of ROLES) {
      const stop = new AbortController()
      const headers = { cookie: `countersign=only-${role}`, 'sec-fetch-dest': 'empty' }
      const { status } = await fetch(`${base}/live`, { headers, signal: stop.signal })
      stop.abort()
      expect(status).toBe((PAGES['GET /live'] as readonly string[]).includes(role) ? 200 : 403)
    }
  })

  it('has no route that the matrix does not know', async () => {
    const { app } = await serve()
    for (const name of Object.keys(PAGES)) {
      const [method = '', url = ''] = name.split(' ')
      expect(app.hasRoute({ method, url })).toBe(true)
    }
    const routes = app.printRoutes({ commonPrefix: false, includeHooks: false }).match(/\([A-Z, ]+\)/g) ?? []
    const methods = routes.flatMap((listed) => listed.slice(1, -1).split(', '))
    const open = ['GET /sign-in', 'GET /sign-in/callback', 'POST /sign-out', 'the style', 'the script']
    expect(methods).toHaveLength(Object.keys(ACCESS).length + Object.keys(PAGES).length + open.length)
  })

  it('votes only when a form is sent', async () => {
    const { browse, queue } = await serve()
    const finn = browse('finn')
    const { csrf = '' } = { csrf: fieldOf((await finn.get('/')).text, 'csrf') }
    for (const decision of ['approve', 'deny']) {
      const query = new URLSearchParams({ csrf, ...ballot })
      expect((await finn.get(`/approvals/${ID}/${decision}?${query}`)).status).toBe(404)
    }
    expect(queue.ballots).toEqual([])
  })
})

describe('what a person sees', () => {
  it('is nothing of an approval that is not theirs to see, as of one that does not exist', async () => {
    const { browse, queue } = await serve()
    const stranger = browse('stranger')
    const hidden = await stranger.get(`/approvals/${ID}`)
    const missing = await stranger.get('/approvals/0000000000')
    expect(hidden.status).toBe(404)
    expect(hidden.text).toBe(missing.text)
    expect((await stranger.get('/')).text).not.toContain(ID)
    expect((await stranger.post(`/approvals/${ID}/approve`, ballot)).status).toBe(404)
    expect(queue.ballots).toEqual([])
  })

  it('is all of it for an auditor, without the buttons', async () => {
    const { browse } = await serve()
    const { status, text } = await browse('aud').get(`/approvals/${ID}`)
    expect(status).toBe(200)
    expect(text).not.toContain('formaction')
  })

  it('keeps what is verified, derived and claimed apart', async () => {
    const { browse } = await serve()
    const { text } = await browse('finn').get(`/approvals/${ID}`)
    const [verified, derived, claimed] = ['verified', 'derived', 'claimed'].map((name) => {
      return text.split(`class="block ${name}"`)[1]?.split('</section>')[0] ?? ''
    })
    expect(verified).toContain('support-agent')
    expect(derived).toContain('billing/refunds-need-finance')
    expect(claimed).toContain('the customer asked')
    expect(`${verified}${derived}`).not.toContain('the customer asked')
  })

  it('says on every page that an upstream is only observed', async () => {
    const { browse } = await serve({ observed: () => ['crm'] })
    for (const path of ['/', '/history', `/approvals/${ID}`]) {
      expect((await browse('finn').get(path)).text).toMatch(/class="notice"[^>]*>[^<]*crm/)
    }
  })
})

describe('a vote', () => {
  it('is handed to the queue with the card that was seen, and leads back to the approval', async () => {
    const { browse, queue } = await serve()
    const seen = await browse('finn').post(`/approvals/${ID}/approve`, {
      ...ballot,
      reason: 'Asked the customer.\r\nFine. ',
    })
    expect([seen.status, seen.url.pathname]).toEqual([200, `/approvals/${ID}`])
    expect(seen.text).toContain('Approved, not yet carried out')
    expect(queue.ballots).toMatchObject([
      {
        approval: ID,
        decision: 'approve',
        via: 'console',
        reason: 'Asked the customer.\nFine.',
        cardHash: ballot.card_hash,
      },
    ])
  })

  it('may be taken back until it is used', async () => {
    const { browse } = await serve()
    const finn = browse('finn')
    await finn.post(`/approvals/${ID}/approve`, ballot)
    const { text } = await finn.post(`/approvals/${ID}/deny`, { ...ballot, reason: 'I was wrong.' })
    expect(text).toContain('I was wrong.')
  })

  it.each([
    ['on another card', 'approve', { card_hash: '00'.repeat(32) }, 409, 'The card is not the one you saw'],
    ['without the reason that is asked for', 'deny', { reason: '' }, 409, 'asks for a reason'],
    ['with a reason that cannot be kept', 'deny', { reason: 'a\0b' }, 422, 'no control characters'],
    ['with a reason that is too long', 'deny', { reason: 'x'.repeat(2001) }, 422, 'Not counted'],
    ['without a card', 'approve', { card_hash: '' }, 400, 'Nothing was done'],
  ])('%s is not counted', async (_case, decision, form, status, says) => {
    const { browse, queue } = await serve()
    const seen = await browse('finn').post(`/approvals/${ID}/${decision}`, { ...ballot, ...form })
    expect([seen.status, seen.text]).toEqual([status, expect.stringContaining(says)])
    expect((await queue.findFor(personOf('finn', { groups: ['finance'] }), ID))?.approval.state).toBe('pending')
  })

  it('keeps what was written when it is not counted', async () => {
    const { browse } = await serve()
    const form = { card_hash: '00'.repeat(32), reason: 'written with care <3' }
    const { text } = await browse('finn').post(`/approvals/${ID}/deny`, form)
    expect(text).toContain('>written with care &lt;3</textarea>')
  })
})

describe('every page', () => {
  const fail = (error: Error): ApprovalDesk => {
    const failing = () => Promise.reject(error)
    const grants = { list: failing, revoke: failing }
    const delegations = { list: failing, known: failing, make: failing, end: failing, absentees: failing }
    const rest = { precedents: failing, claim: failing, release: failing, ask: failing, delegations }
    return { list: failing, findFor: failing, recall: failing, vote: failing, grants, ...rest }
  }
  const store = fail(new GatewayError('store', 'secret host'))
  const bug = fail(new Error('inner workings'))

  it.each([
    [200, 'the inbox', {}, 'finn', '/'],
    [200, 'history', {}, 'finn', '/history'],
    [200, 'an approval', {}, 'finn', `/approvals/${ID}`],
    [200, 'the choice of a provider', {}, null, '/sign-in'],
    [400, 'a query that is not understood', {}, 'finn', '/?after=1&after=2'],
    [403, 'signing in that fails', {}, null, '/sign-in/callback?code=1'],
    [403, 'a page for other roles', {}, 'only-operator', '/'],
    [404, 'an approval that is not there', {}, 'finn', '/approvals/0000000000'],
    [404, 'a path that is none', {}, 'finn', '/nowhere'],
    [400, 'a path that cannot be decoded', {}, 'finn', '/approvals/%ff'],
    [503, 'a store that is away', { queue: store }, 'finn', '/'],
    [500, 'a fault of ours', { queue: bug }, 'finn', '/'],
  ] as const)('lets nothing run, be framed, sniffed or kept: %i, %s', async (status, _case, parts, as, path) => {
    const { browse } = await serve(parts)
    const seen = await browse(as).get(path)
    expect(seen.status).toBe(status)
    expectStrict(seen.headers)
    expect(seen.text).not.toMatch(/secret host|inner workings/)
    expect(seen.text).not.toMatch(/ style=| on[a-z]+=|<style|javascript:/)
    for (const [, attributes = '', inside] of seen.text.matchAll(/<script([^>]*)>([^<]*)/g)) {
      expect([attributes, inside]).toEqual([expect.stringMatching(/^ type="module" src="\/assets\//), ''])
    }
  })

  it('and every answer to a form as well', async () => {
    const { browse } = await serve()
    const finn = browse('finn')
    for (const form of [ballot, { card_hash: '' }, { reason: '' }, { csrf: 'x' }]) {
      expectStrict((await finn.post(`/approvals/${ID}/deny`, form)).headers)
    }
    expectStrict((await browse(null).post(`/approvals/${ID}/deny`, ballot)).headers)
  })

  it('slows down a person who asks too often, and nobody else', async () => {
    const { browse } = await serve()
    const finn = browse('finn')
    const seen = []
    for (let i = 0; i < 62; i++) seen.push(await finn.get('/'))
    const slowed = seen.filter(({ status }) => status === 429)
    expect(slowed).toHaveLength(2)
    for (const { headers } of slowed) {
      expectStrict(headers)
      expect(headers.get('retry-after')).toBe('1')
    }
    expect((await browse('aud').get('/')).status).toBe(200)
  })

  it('has a style and a script that may be kept, and change their names with what is in them', async () => {
    const { browse } = await serve()
    const { text } = await browse('finn').get('/')
    const found = [...text.matchAll(/(?:href|src)="(\/assets\/[0-9a-f]{16}\/[\w.]+)"/g)].map(([, path = '']) => path)
    expect(found).toHaveLength(2)
    for (const path of found) {
      const { status, headers } = await browse(null).get(path)
      expect([status, headers.get('cache-control')]).toEqual([200, 'public, max-age=31536000, immutable'])
      expect(headers.get('x-content-type-options')).toBe('nosniff')
    }
  })

  function expectStrict(headers: Headers): void {
    const policy = headers.get('content-security-policy') ?? ''
    expect(policy).toMatch(/default-src 'none'.*frame-ancestors 'none'.*base-uri 'none'/)
    expect(policy).not.toMatch(/unsafe|https?:|data:|blob:|\*/)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('x-frame-options')).toBe('DENY')
    expect(headers.get('referrer-policy')).toMatch(/^(same-origin|no-referrer)$/)
    expect(headers.get('access-control-allow-origin')).toBeNull()
  }
})

describe('asking the agent', () => {
  const ask = (
    browser: Awaited<ReturnType<typeof serve>>['browse'] extends (as: string) => infer B ? B : never,
    question: string,
  ) => browser.post(`/approvals/${ID}/ask`, { question })

  it('shows the question, then the reply, and counts no yes that was given without having seen it', async () => {
    const { browse, queue } = await serve()
    const finn = browse('finn')
    const before = await finn.get(`/approvals/${ID}`)
    expect(before.text).toContain('Ask the agent')
    const asked = await ask(finn, 'Which <order>?\r\n')
    expect(asked.url.pathname).toBe(`/approvals/${ID}`)
    expect(asked.text).toContain('Which &lt;order&gt;?')
    expect(asked.text).toContain('The agent has not replied')
    expect(asked.text).not.toContain('Ask the agent')
    queue.reply(ID, 'Order </q><script>7</script>\u202e')
    const shown = (await finn.get(`/approvals/${ID}`)).text
    expect(shown).toContain('Order &lt;/q&gt;&lt;script&gt;7&lt;/script&gt;⟨U+202E⟩')
    expect(shown.indexOf('Which &lt;order')).toBeLessThan(shown.indexOf('Order &lt;/q'))
    // Beside the words, for each of the forms: what changes on the page changes with it.
    const claims = shown.slice(shown.indexOf('id="questions"'), shown.indexOf('id="ask"'))
    for (const form of ['decide', 'grant', 'override']) expect(claims).toContain(`value="1" form="${form}"`)
    expect(claims).toContain('its replies are its claims')
    const stale = await finn.post(`/approvals/${ID}/approve`, { ...ballot, replies: '0' })
    expect([stale.status, stale.text.includes('The card is not the one you saw')]).toEqual([409, true])
    expect((await finn.post(`/approvals/${ID}/approve`, { ...ballot, replies: '1' })).status).toBe(200)
    expect(queue.ballots.map(({ replies }) => replies)).toEqual([0, 1])
  })

  it('is refused in words, and keeps what was written', async () => {
    const { browse } = await serve()
    const finn = browse('finn')
    const long = await ask(finn, `${'<'.repeat(1001)}`)
    expect([long.status, long.text.includes('Not asked. The question')]).toEqual([422, true])
    expect(long.text).toContain(`>${'&lt;'.repeat(1001)}</textarea>`)
    expect((await ask(finn, ' \n ')).status).toBe(422)
    expect((await ask(finn, 'a\u0007b')).status).toBe(422)
    await ask(finn, 'Once?')
    const twice = await ask(finn, 'Twice?')
    expect([twice.status, twice.text.includes('has not replied to the question before')]).toEqual([409, true])
    const auditor = await ask(browse('aud'), 'Me?')
    expect([auditor.status, auditor.text.includes('None of its rules names you')]).toEqual([409, true])
    expect((await browse('aud').get(`/approvals/${ID}`)).text).not.toContain('Ask the agent')
    expect((await ask(browse('stranger'), 'Me?')).status).toBe(404)
  })
})

describe('somebody who is away', () => {
  const FAY = 'https://idp.example.com|fay'
  const ADMIN = 'only-admin'

  it('names who stands in for them, and ends it', async () => {
    const { browse } = await serve()
    const finn = browse('finn')
    expect((await finn.get('/me')).text).toContain(`<option value="${FAY}">Fay (${FAY})</option>`)
    const made = await finn.post('/me/delegations', { delegate: FAY, from: '2026-03-01', until: '2026-03-09' })
    expect([made.status, made.url.pathname]).toEqual([200, '/me'])
    expect(made.text).toMatch(
      /Fay<\/b> stands in for <b[^>]*>finn the person<\/b>, from .*2026-03-01.* until .*2026-03-10/s,
    )
    expect(made.text).not.toContain('<select name="delegate"')
    const twice = await finn.post('/me/delegations', { delegate: FAY, until: '2026-03-09' })
    expect([twice.status, twice.text.includes('Somebody stands in for you already')]).toEqual([403, true])
    const id = /name="id" value="(D\d+)"/.exec(made.text)?.[1] ?? ''
    expect((await browse('stranger').post('/me/delegations/end', { id })).status).toBe(403)
    expect((await finn.post('/me/delegations/end', { id })).text).toContain('<select name="delegate"')
  })

  it('may have it ended by an admin', async () => {
    const { browse } = await serve()
    await browse('finn').post('/me/delegations', { delegate: FAY, until: '2026-03-09' })
    const admin = browse(ADMIN)
    const seen = (await admin.get('/me')).text
    expect(seen).toContain('Others who are stood in for')
    expect((await browse('stranger').get('/me')).text).not.toContain('finn the person')
    const id = /name="id" value="(D\d+)"/.exec(seen)?.[1] ?? ''
    expect((await admin.post('/me/delegations/end', { id })).text).not.toContain('Others who are stood in for')
  })

  it.each([
    ['nobody', { delegate: '', until: '2026-03-09' }, 'Choose somebody'],
    ['no end', { delegate: FAY, until: '' }, 'Choose somebody'],
    ['an end that is none', { delegate: FAY, until: '2026-02-31' }, 'Choose somebody'],
    ['an end before the beginning', { delegate: FAY, from: '2026-03-09', until: '2026-03-01' }, '30 days at most'],
    ['themselves', { delegate: 'https://idp.example.com|finn', until: '2026-03-09' }, 'for yourself'],
    ['a stranger', { delegate: 'https://idp.example.com|<b>x', until: '2026-03-09' }, 'Nobody of that name'],
  ])('is told why not: %s', async (_case, form, why) => {
    const { browse } = await serve()
    const { status, text } = await browse('finn').post('/me/delegations', form)
    expect([status, text.includes(why)]).toEqual([403, true])
  })

  it('is named on the page where another decides for them, and by their vote', async () => {
    const name = '</b><script>8</script>'
    const absent = { issuer: 'https://idp.example.com', subject: 'paula', name, groups: [] }
    const reviewers = [{ kind: 'party', party: absent }] as const
    const [asked] = refund(ID).approval.requirements
    const requirements = asked ? [{ ...asked, reviewers }] : []
    const held = refund(ID, { requirements, votes: [] })
    const reviewer = { ...personOf('fay'), name }
    const vote = {
      reviewer,
      decision: 'approve',
      reason: null,
      via: 'delegate:D0:api',
      at: 0,
      standsFor: absent,
    } as const
    const approval = { ...held.approval, votes: [vote] }
    const queue = {
      ...fakeQueue([held]),
      findFor: async () => ({ ...held, approval, questions: [], standsFor: absent }),
    }
    const { browse } = await serve({ queue })
    const { text } = await browse('finn').get(`/approvals/${ID}`)
    expect(text).toMatch(/You decide for <b title="https:\/\/idp.example.com\|paula">&lt;\/b&gt;&lt;script&gt;8/)
    expect(text).toMatch(/approved for <b title="https:\/\/idp.example.com\|paula">&lt;\/b&gt;.*through api/s)
    expect(text).toContain('class="approve"')
    expect(text).not.toContain('<script>8')
  })
})
