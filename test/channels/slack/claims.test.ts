import { afterEach, describe, expect, it } from 'vitest'
import { renderCard } from '../../../src/channels/slack/card.ts'
import type { Precedents } from '../../../src/domain/precedent.ts'
import { checkMessageBlocks, isTooLongForMessage } from '../../fakes/slack/blocks.ts'
import { type Mode, type Rig, type RigOptions, startRig } from './rig.ts'
import { allButtonsOf, createFakeDesk, makeApproval, makeCard, makePerson, readable, textsOf } from './samples.ts'

const CLAIM = 'countersign.claim'
const RELEASE = 'countersign.release'
const MODES: Mode[] = ['socket', 'http']

let rig: Rig | null = null
async function start(options?: RigOptions): Promise<Rig> {
  rig = await startRig(options)
  return rig
}

afterEach(async () => {
  await rig?.close()
  rig = null
})

describe.each(MODES)('somebody who looks at a card, over %s', (mode) => {
  it('says so with one press, and the card names them', async () => {
    const { slack, desk, card, result } = await start({ mode })
    const message = await card()
    expect(await slack.press('U0ALICE', message, CLAIM)).toMatchObject({ status: 200, body: null })
    expect(desk.claims).toMatchObject([
      { way: 'claim', approval: '7Q3FX2K9AB', via: 'slack', by: { subject: 'alice' } },
    ])
    await result(message)
    expect(readable(message.blocks)).toContain('Looked at by Alice until ')
    expect(allButtonsOf(message.blocks)).toEqual([
      'countersign.approve',
      'countersign.deny',
      'countersign.ask',
      CLAIM,
      RELEASE,
    ])
    expect(readable(message.blocks)).toContain('Take it over')
    expect(desk.ballots).toEqual([])
    expect(slack.state.ephemerals).toEqual([])
  })

  it('is taken over from, and lets go only what is theirs', async () => {
    const { slack, desk, card, result } = await start({ mode })
    const message = await card()
    await slack.press('U0ALICE', message, CLAIM)
    await result(message)
    await slack.press('U0BOB', message, RELEASE)
    expect(slack.state.ephemerals).toMatchObject([
      { user: 'U0BOB', text: expect.stringContaining('Somebody else is looking') },
    ])
    await slack.press('U0BOB', message, CLAIM)
    await result(message)
    expect(readable(message.blocks)).toContain('Looked at by Bob')
    await slack.press('U0BOB', message, RELEASE)
    await result(message)
    expect(readable(message.blocks)).not.toContain('Looked at by')
    expect(desk.claims.map(({ way }) => way)).toEqual(['claim', 'release', 'claim', 'release'])
  })
})

describe('a claim in Slack', () => {
  it('is not taken from whom nobody knows', async () => {
    const { slack, desk, card } = await start()
    await slack.press('U0ERIN', await card(), CLAIM)
    expect(desk.claims).toEqual([])
    expect(slack.state.ephemerals).toMatchObject([{ user: 'U0ERIN', text: expect.stringContaining('not linked') }])
  })

  it('is not taken from the requesting side, and that person alone is told', async () => {
    const approval = makeApproval()
    const owner = { issuer: 'https://idp.example.com', subject: 'alice' }
    const desk = createFakeDesk({ ...approval, requester: { ...approval.requester, owner } })
    const { slack, card } = await start({ desk })
    await slack.press('U0ALICE', await card(), CLAIM)
    expect(slack.state.ephemerals).toMatchObject([
      { user: 'U0ALICE', text: expect.stringContaining('requesting side') },
    ])
  })

  it('is told to be too late after the decision', async () => {
    const desk = createFakeDesk()
    const { slack, card } = await start({ desk })
    const message = await card()
    desk.current = { ...desk.current, approval: makeApproval({ state: 'denied', decidedAt: Date.now() }) }
    await slack.press('U0ALICE', message, CLAIM)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('already decided') }])
  })

  it('that fails is told, and logged', async () => {
    const desk = createFakeDesk()
    desk.claim = () => Promise.reject(new Error('the store is away'))
    const { slack, card, log } = await start({ desk })
    await slack.press('U0ALICE', await card(), CLAIM)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('had a fault') }])
    expect(log()).toContain('a claim made in Slack could not be taken')
  })

  it('delivered twice, byte for byte, is one', async () => {
    const { slack, desk, card, logged } = await start()
    await slack.press('U0ALICE', await card(), CLAIM)
    await slack.send({ ...slack.lastPayload() })
    await logged('a press was delivered twice')
    expect(desk.claims).toHaveLength(1)
  })

  it('does not stop reminders, which say who it is', async () => {
    const { reviewer } = { reviewer: makePerson('alice') }
    const claim = { reviewer, via: 'console', at: Date.now(), until: Date.now() + 900_000 }
    const { slack, deliver, card } = await start()
    const message = await card()
    const posted = { channel: message.channel, ts: message.ts }
    await deliver({ kind: 'reminder', posted })
    expect(readable(slack.state.messages[1]?.blocks)).not.toContain('Looked at by')
    await deliver({ kind: 'reminder', posted, approval: makeApproval({ claim }) })
    expect(readable(slack.state.messages[2]?.blocks)).toContain('Looked at by Alice until ')
    const long = makeCard({
      needed: Array(50).fill({ reviewers: Array(50).fill('group:x'.repeat(40)), quorum: 1, isReasonRequired: false }),
    })
    await deliver({ kind: 'reminder', posted, card: long, approval: makeApproval({ claim }) })
    expect(readable(slack.state.messages[3]?.blocks)).toContain('Looked at by Alice until ')
  })
})

describe('what was decided before, on a card', () => {
  const { issuer, name } = makePerson('alice')
  const reviewer = { issuer, subject: 'alice', name }
  const last: NonNullable<Precedents['lastApproved']> = {
    approval: 'EARLIER123',
    at: 1,
    by: [{ reviewer, reason: 'fine', via: 'api' }],
    difference: { extent: 'content', changes: [{ at: '/amount', before: '9', now: '900' }], more: 0, unseen: [] },
  }
  const before: Precedents = {
    withinMs: 86_400_000,
    isPartial: false,
    approved: 2,
    identical: 0,
    overridden: 0,
    granted: 0,
    denied: 1,
    approvers: [{ reviewer, times: 2 }],
    lastApproved: last,
    lastDenied: null,
  }
  function render(precedents: Precedents | null) {
    return renderCard({
      approval: makeApproval(),
      card: makeCard(),
      precedents,
      detail: 'full',
      publicUrl: 'https://a.example',
    })
  }

  it('is one line, and what differs from the last', () => {
    const text = readable(render(before).blocks)
    expect(text).toContain(
      'Decided before (the last 24 hours): denied once; approved twice, none of them with the same content; by Alice',
    )
    expect(text).toContain('Against the one approved last: another content: /amount')
  })

  it('says who denied it last, and why', () => {
    const lastDenied = { ...last, by: [{ reviewer, reason: 'Not to mallory.', via: 'api' }] }
    const text = readable(render({ ...before, lastDenied }).blocks)
    expect(text).toContain('Denied last by Alice, because Not to mallory.; against it: another content: /amount')
    const silent = { ...last, by: [{ reviewer, reason: null, via: 'api' }] }
    expect(readable(render({ ...before, lastDenied: silent }).blocks)).toContain('Denied last by Alice; against it: ')
  })

  it('says so if it is the same, and names three of many fields', () => {
    const as = (difference: Partial<typeof last.difference>) => {
      const lastApproved = { ...last, difference: { ...last.difference, ...difference } }
      return readable(render({ ...before, lastApproved }).blocks)
    }
    expect(as({ extent: 'none', changes: [] })).toContain('Against the one approved last: the same to the last byte')
    expect(as({ extent: 'attempt', changes: [] })).toContain('but for what every attempt makes anew')
    const changes = ['/a', '/b', '/c', '/d'].map((at) => ({ at, before: null, now: '1' }))
    expect(as({ changes, more: 7 })).toContain('another content: /a, /b, /c and 8 more')
  })

  it('is said to be nothing, or not at all where it is not known', () => {
    const nothing = { ...before, approved: 0, denied: 0, approvers: [], lastApproved: null }
    expect(readable(render(nothing).blocks)).toContain('Decided before (the last 24 hours): never')
    expect(readable(render(null).blocks)).not.toContain('Decided before')
  })

  it.each([
    ['mentions and markup', '<!channel> *x* `y` <https://evil|here>'],
    ['invisible and turning characters', 'pay\u202e000\u200b\u0000\nDenied by nobody'],
    ['length', '漢'.repeat(9000)],
  ])('is shown harmlessly, whatever an agent wrote: %s', (_what, text) => {
    const hostile = { ...reviewer, name: text }
    const changes = Array(20).fill({ at: text, before: text, now: text })
    const lastApproved = {
      ...last,
      by: [{ reviewer: hostile, reason: text, via: text }],
      difference: { ...last.difference, changes },
    }
    const approvers = Array(5).fill({ reviewer: hostile, times: 2 })
    const { blocks } = render({ ...before, approvers, lastApproved, lastDenied: lastApproved })
    checkMessageBlocks(blocks)
    expect(isTooLongForMessage(blocks)).toBe(false)
    expect(textsOf(blocks).filter(({ kind }) => ['mrkdwn', 'link', 'broadcast', 'user'].includes(kind))).toEqual([])
    expect(readable(blocks)).not.toMatch(/[\u202e\u200b\0]|\nDenied by nobody/)
  })

  it('is kept up to date when somebody votes', async () => {
    const card = makeCard({ needed: [{ reviewers: ['group:finance'], quorum: 2, isReasonRequired: false }] })
    const desk = createFakeDesk(makeApproval(), card)
    desk.before = before
    const { slack, card: post } = await start({ desk })
    const message = await post()
    await slack.press('U0ALICE', message, 'countersign.approve')
    expect(readable(message.blocks)).toContain('Approved by Alice')
    expect(readable(message.blocks)).toContain('approved twice')
  })
})
