import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Requirement } from '../../src/domain/verdict.ts'
import { fieldOf } from './browser.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'
import { refund } from './people.ts'

const GRANTED = '7Q3F000000'
const BEYOND = '7Q3F000001'
const HOSTILE = '7Q3F000002'
const OVERRIDDEN = '7Q3F000003'
const FORGED = '7Q3F000004'
const EVIL = '/refunds/"><img src=x>\u202e'

let world: ConsoleWorld
beforeAll(async () => {
  world = await startConsole((issuer) => {
    const { requester, requirements } = refund(GRANTED).approval
    const asked = requirements.map(
      (one): Requirement => ({
        ...one,
        grant: {
          mostMs: 30 * 60_000,
          mostUses: 20,
          covers: 'resource',
          ruleHash: 'ab'.repeat(32),
          resources: ['/refunds'],
          when: 'action.facts.body.amount <= 100',
        },
        override: [{ kind: 'group', issuerName: null, name: 'audit' }],
      }),
    )
    const more = { requester: { ...requester, issuer }, requirements: asked }
    return [GRANTED, BEYOND, HOSTILE, OVERRIDDEN, FORGED].map((id) =>
      refund(id, { ...more, ...(id === HOSTILE && { resource: EVIL }) }),
    )
  })
})
afterAll(() => world[Symbol.asyncDispose]())

const ballotsOn = (id: string) => world.queue.ballots.filter(({ approval }) => approval === id)

async function open(as: string, id: string) {
  const browser = await world.signIn(as, { path: `/approvals/${id}` })
  const { text } = browser.seen
  const form = { csrf: fieldOf(text, 'csrf'), card_hash: refund(id).approval.cardHash, reason: 'he is known to us' }
  const post = (path: string, more: object) => browser.post(world.base + path, { ...form, ...more })
  return { ...browser, text, post, signInAs: (url: string) => browser.post(url, {}) }
}

describe('a grant', () => {
  const ask = { minutes: '30', uses: '5', covers: 'resource' }

  it('is read as a sentence before it is given, and is listed and revoked', async () => {
    const finn = await open('finn', GRANTED)
    expect(finn.text).toContain('Approve, and the same again')
    const read = await finn.post(`/approvals/${GRANTED}/grant`, ask)
    expect(read.status).toBe(200)
    expect(read.text).toContain(
      'support-agent may send any POST /refunds on billing that billing/refunds-need-finance holds, whatever its content',
    )
    expect(read.text).toContain('at most 5 times')
    expect(read.text).toContain('action.facts.body.amount &lt;= 100')
    expect(ballotsOn(GRANTED)).toEqual([])

    const given = await finn.post(`/approvals/${GRANTED}/grant`, { ...ask, confirmed: 'yes' })
    expect([given.status, given.url.pathname]).toEqual([200, `/approvals/${GRANTED}`])
    expect(ballotsOn(GRANTED)).toMatchObject([
      {
        decision: 'approve',
        reason: 'he is known to us',
        via: 'console',
        grant: { minutes: 30, uses: 5, covers: 'resource' },
      },
    ])
    expect(given.text).toContain('Granted with it')
    const { text } = await finn.get(`${world.base}/grants`)
    expect(text).toContain('0 of 5 used')
    const [, path = ''] = /action="(\/grants\/\w+\/revoke)"/.exec(text) ?? []
    const revoked = await finn.post(path, {})
    expect([revoked.status, revoked.url.pathname]).toEqual([200, '/grants'])
    expect(revoked.text).toContain('None is in force')
  })

  it.each([
    ['longer', { minutes: '31' }],
    ['more often', { uses: '21' }],
    ['wider', { covers: 'rule' }],
    ['not at all', { uses: '0' }],
  ])('is not given %s than the rule permits', async (_how, more) => {
    const finn = await open('finn', BEYOND)
    for (const confirmed of [{}, { confirmed: 'yes' }]) {
      const { status, text } = await finn.post(`/approvals/${BEYOND}/grant`, { ...ask, ...more, ...confirmed })
      expect([status, text.includes('No rule that names you permits a grant')]).toEqual([422, true])
    }
    expect(ballotsOn(BEYOND)).toEqual([])
  })

  it('shows what an agent wrote as text', async () => {
    const finn = await open('finn', HOSTILE)
    const { text } = await finn.post(`/approvals/${HOSTILE}/grant`, ask)
    expect(text).toContain('&lt;img src=x&gt;⟨U+202E⟩')
    expect(text).not.toContain('<img')
  })

  it('is not offered to whom no rule names', async () => {
    const aud = await open('aud', BEYOND)
    expect(aud.text).not.toContain('the same again')
    expect((await aud.post(`/approvals/${BEYOND}/grant`, { ...ask, confirmed: 'yes' })).status).toBe(422)
  })
})

describe('an override', () => {
  it('sends the person through a sign-in first, and then takes a reason', async () => {
    const aud = await open('aud', OVERRIDDEN)
    expect(aud.text).toContain('Override the reviewers')
    const [, link = ''] = /href="(\/sign-in\?fresh=1[^"]*)"/.exec(aud.text) ?? []
    const refused = await aud.post(`/approvals/${OVERRIDDEN}/override`, {})
    expect([refused.status, refused.text.includes('a sign-in of the last five minutes')]).toEqual([409, true])

    const asked = await aud.get(world.base + link.replaceAll('&amp;', '&'))
    expect(asked.redirects.some(({ searchParams }) => searchParams.get('max_age') === '60')).toBe(true)
    const back = await aud.signInAs(`${asked.url.href}?as=aud`)
    expect([back.status, back.url.pathname]).toEqual([200, `/approvals/${OVERRIDDEN}`])
    const form = { csrf: fieldOf(back.text, 'csrf'), reason: 'the shop is down' }
    const done = await aud.post(`/approvals/${OVERRIDDEN}/override`, form)
    expect([done.status, done.url.pathname]).toEqual([200, `/approvals/${OVERRIDDEN}`])
    expect(ballotsOn(OVERRIDDEN).at(-1)).toMatchObject({
      isOverride: true,
      reason: 'the shop is down',
      decision: 'approve',
    })
    expect(done.text).toContain('in place of the reviewers, through console')
  })

  it('is not offered to others, and not counted', async () => {
    const fay = await open('fay', FORGED)
    expect(fay.text).not.toContain('Override the reviewers')
    const { status, text } = await fay.post(`/approvals/${FORGED}/override`, {})
    expect([status, text.includes('You may override it only if')]).toEqual([409, true])
  })
})
