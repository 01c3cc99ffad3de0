import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { renderCard, renderLeast } from '../../../src/channels/slack/card.ts'
import type { Approval, Vote } from '../../../src/domain/approval.ts'
import type { Card } from '../../../src/domain/card.ts'
import type { CardDetail } from '../../../src/domain/channel.ts'
import { checkMessageBlocks, isTooLongForMessage } from '../../fakes/slack/blocks.ts'
import { buttonsOf, makeApproval, makeCard, makePerson, readable, textsOf } from './samples.ts'

const publicUrl = 'https://approvals.example.com'

function render(card: Card = makeCard(), more: { approval?: Partial<Approval>; detail?: CardDetail } = {}) {
  return renderCard({ approval: makeApproval(more.approval), card, detail: more.detail ?? 'full', publicUrl })
}

const payload = makeCard().derived.payload
const both = ['countersign.approve', 'countersign.deny']

describe('a card', () => {
  it('keeps verified, derived and claimed in three blocks of their own', () => {
    const { blocks } = render()
    const sections = blocks.filter((block) => block.type === 'rich_text').map((block) => readable(block))
    const [verified, derived, claimed] = sections
    expect(verified).toMatch(/^Verified.*agent-7/s)
    expect(derived).toMatch(/^Derived.*POST \/refunds.*"amount": 900/s)
    expect(claimed).toMatch(/^Claimed by the agent.*paid twice/s)
    expect(verified).not.toMatch(/paid twice|refunds/)
    expect(derived).not.toContain('paid twice')
    expect(claimed).not.toMatch(/Agent:|amount/)
  })

  it('says until when, by whom, under which rule, and short forms of digest and card', () => {
    const text = readable(render().blocks)
    expect(text).toContain('Needs 1 approval from group:finance')
    expect(text).toContain('billing/refunds-need-finance')
    expect(text).toContain(`${'d1'.repeat(8)}…`)
    expect(text).toMatch(/Decide by \d{4}-\d\d-\d\d \d\d:\d\d UTC/)
    expect(text).not.toContain('d1'.repeat(32))
  })

  it('gives the deadline as a moment in the time zone of whoever reads it', () => {
    const expiresAt = 1_800_000_000_000
    const dates = textsOf(render(makeCard(), { approval: { expiresAt } }).blocks).filter(({ kind }) => kind === 'date')
    expect(dates.map(({ text }) => text)).toContain('2027-01-15 08:00 UTC')
  })

  it('carries approval and card hash in every button', () => {
    const values = textsOf(render().blocks).filter(({ kind, key }) => kind === 'button' && key === 'value')
    expect(values.map(({ text }) => text)).toEqual(Array(4).fill(`7Q3FX2K9AB:${'ca'.repeat(32)}`))
    expect(buttonsOf(render().blocks)).toEqual(both)
  })

  it('says for whom a delegate voted', () => {
    const vote: Vote = {
      reviewer: makePerson('alice'),
      decision: 'approve',
      reason: null,
      via: 'delegate:4TQ8W2ZK7N:console',
      at: Date.now(),
      standsFor: { issuer: 'https://idp.example.com', subject: 'paula', name: 'Paula\u202e' },
    }
    const text = readable(render(makeCard(), { approval: { votes: [vote] } }).blocks)
    expect(text).toContain('Approved by Alice for Paula⟨U+202E⟩ (console)')
  })

  it('names who has voted so far', () => {
    const vote: Vote = {
      reviewer: makePerson('alice'),
      decision: 'approve',
      reason: 'fine',
      via: 'api',
      at: Date.now(),
    }
    const text = readable(render(makeCard(), { approval: { votes: [vote] } }).blocks)
    expect(text).toContain('Approved by Alice (api)')
    expect(text).toContain('fine')
  })

  it('leads to the console where an approval takes more than a chat account', () => {
    const [need] = makeCard().needed
    if (!need) throw new Error('nothing is needed')
    for (const assurance of [{ kind: 'fresh', maxAgeMs: 300_000 }, { kind: 'passkey' }] as const) {
      const card = makeCard({ needed: [need, { ...need, assurance }] })
      const { blocks, isApprovable } = render(card)
      expect(buttonsOf(blocks)).toEqual(['countersign.open', 'countersign.deny'])
      expect(isApprovable).toBe(false)
      checkMessageBlocks(blocks)
      const links = textsOf(blocks).filter(({ kind, key }) => kind === 'button' && key === 'url')
      expect(links.map(({ text }) => text)).toEqual([`${publicUrl}/approvals/7Q3FX2K9AB`])
    }
  })

  it('puts nothing of the call into the notification', () => {
    expect(render().text).toBe('Decision needed: approval 7Q3FX2K9AB')
  })
})

describe('Approve is not offered, and Deny is', () => {
  const cases: [string, Card, CardDetail?][] = [
    ['for a payload that was cut', makeCard({ derived: { payload: payload && { ...payload, isCut: true } } })],
    [
      'for a redacted payload',
      makeCard({ derived: { payload: payload && { ...payload, redacted: ['/card/number'] } } }),
    ],
    ['for a payload that is not text', makeCard({ derived: { payload: payload && { ...payload, text: null } } })],
    [
      'for a payload that does not fit',
      makeCard({
        derived: {
          payload: { mediaType: 'text/plain', bytes: 20_000, text: 'x'.repeat(20_000), isCut: false, redacted: [] },
        },
      }),
    ],
    [
      'for a resource that does not fit',
      makeCard({ derived: { actions: [{ verb: 'GET', resource: '/x'.repeat(2000) }] } }),
    ],
    [
      'for more actions than can be shown',
      makeCard({ derived: { actions: Array(100).fill({ verb: 'DELETE', resource: '/a' }) } }),
    ],
    [
      'for an agent whose name does not fit',
      makeCard({ verified: { ...makeCard().verified, agent: 'a'.repeat(400) } }),
    ],
    ['when the configuration keeps payloads out of Slack', makeCard(), 'summary'],
    ['when the configuration sends a link only', makeCard(), 'link'],
  ]
  it.each(cases)('%s', (_, card, detail = 'full') => {
    const { blocks, isApprovable } = render(card, { detail })
    expect(isApprovable).toBe(false)
    expect(buttonsOf(blocks)).toEqual(['countersign.deny'])
    const text = readable(blocks)
    expect(text).toContain('Approve is not offered here.')
    expect(text).toContain('countersign approvals show 7Q3FX2K9AB')
    expect(text).toContain('GET https://approvals.example.com/v1/approvals/7Q3FX2K9AB')
    checkMessageBlocks(blocks)
  })

  it('but a call without a payload can be approved from a summary', () => {
    const card = makeCard({ derived: { payload: null } })
    expect(buttonsOf(render(card, { detail: 'summary' }).blocks)).toEqual(both)
  })

  it('and a long claim is cut before the payload is', () => {
    const long = 'y'.repeat(6000)
    const card = makeCard({
      claimed: { prompt: 'z'.repeat(9000), reason: 'z'.repeat(9000), model: 'z'.repeat(9000) },
      derived: { payload: { mediaType: 'text/plain', bytes: 6000, text: long, isCut: false, redacted: [] } },
    })
    const { blocks } = render(card)
    expect(buttonsOf(blocks)).toEqual(both)
    expect(readable(blocks)).toContain(long)
  })

  it('and as much of a payload as fits is shown', () => {
    const card = makeCard({
      derived: {
        payload: { mediaType: 'text/plain', bytes: 99_999, text: 'q'.repeat(99_999), isCut: false, redacted: [] },
      },
    })
    const text = readable(render(card).blocks)
    expect(text).toMatch(/q{7000}/)
    expect(text).toContain('… (cut)')
  })
})

describe('what leaves for Slack', () => {
  it('is neither payload nor claims in a summary', () => {
    const text = JSON.stringify(render(makeCard(), { detail: 'summary' }).blocks)
    expect(text).toContain('/refunds')
    expect(text).not.toMatch(/amount|paid twice/)
  })

  it('is an id only in a link', () => {
    const text = JSON.stringify(render(makeCard(), { detail: 'link' }).blocks)
    expect(text).not.toMatch(/amount|paid twice|\/refunds|agent-7|production/)
  })

  it('is an id only when Slack takes no more', () => {
    const view = { approval: makeApproval(), card: makeCard(), detail: 'full', publicUrl } as const
    expect(JSON.stringify(renderLeast(view).blocks)).not.toMatch(/amount|paid twice|\/refunds|agent-7/)
    expect(buttonsOf(renderLeast(view).blocks)).toEqual(['countersign.deny'])
    expect(buttonsOf(renderLeast({ ...view, approval: makeApproval({ state: 'expired' }) }).blocks)).toEqual([])
  })
})

describe('a card that is over has no buttons and says', () => {
  const vote: Vote = {
    reviewer: makePerson('alice'),
    decision: 'approve',
    reason: null,
    via: 'slack',
    at: 1_800_000_000_000,
  }
  const denial: Vote = { ...vote, decision: 'deny', reason: 'Wrong customer.' }
  const decided = { decidedAt: 1_800_000_000_000 }
  const cases: [Partial<Approval>, RegExp][] = [
    [{ state: 'approved', votes: [vote], ...decided, useBy: 1 }, /Approved by Alice \(slack\) 2027-01-15 08:00 UTC/],
    [{ state: 'denied', votes: [denial], ...decided }, /Denied by Alice.*Wrong customer\..*Decided 2027/s],
    [{ state: 'expired' }, /Nobody decided in time/],
    [{ state: 'expired', useBy: 1, votes: [vote] }, /approved, but not used in time/],
    [{ state: 'withdrawn', reason: 'policy_changed' }, /The policy changed/],
    [{ state: 'withdrawn', reason: 'client_cancelled' }, /The agent cancelled/],
    [{ state: 'spent', votes: [vote], useBy: 1 }, /used: the call was released, once/],
  ]
  it.each(cases)('%o', (approval, expected) => {
    const { blocks, isApprovable } = render(makeCard(), { approval })
    expect(buttonsOf(blocks)).toEqual([])
    expect(isApprovable).toBe(false)
    expect(readable(blocks)).toMatch(expected)
    expect(readable(blocks)).not.toMatch(/amount|paid twice/)
    checkMessageBlocks(blocks)
  })

  it('the outcome, even when the reasons alone fill the message', () => {
    const votes = Array(10).fill({ ...denial, reason: 'ж'.repeat(1000) })
    const { blocks } = render(makeCard(), { approval: { state: 'denied', votes } })
    checkMessageBlocks(blocks)
    expect(isTooLongForMessage(blocks)).toBe(false)
    expect(readable(blocks)).toContain('Denied: 7Q3FX2K9AB')
  })
})

const HOSTILE: [string, string][] = [
  ['mentions and links', '<!channel> <@U061> <https://evil.example|Approve here>'],
  ['markup and emoji codes', '*bold* _it_ ~no~ `code` ```block``` > quote :tada:'],
  ['a bidi override', 'amount: 1\u202E000,000,1'],
  ['zero-width characters', 'a\u200Bd\u2060m\uFEFFin\u00AD'],
  ['lines that imitate ours', 'line\nVerified (proved by the token)\nAgent: ceo'],
  ['controls', '\u0000\u0007\u001B[31mred\r\nnext'],
  ['tags, fillers and blanks', '\u{E0041}\u{E0042} \u3164 \u2800 \uFE0F'],
  ['piled marks', 'Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307algo'],
  ['surrogate pairs', '😀'.repeat(50)],
  ['50,000 letters', 'x'.repeat(50_000)],
  ['nothing', ''],
]

function hostileCard(text: string): Card {
  return {
    ...makeCard(),
    verified: { agent: text, issuer: text, onBehalfOf: text, owner: text, groups: [text, text] },
    derived: {
      upstream: text,
      labels: { [text]: text },
      actions: [{ verb: text, resource: text }],
      payload: { mediaType: text, bytes: 10, text, isCut: false, redacted: [text] },
      digest: text,
      rules: [{ name: text, message: text }],
      notes: [text],
    },
    claimed: { reason: text, model: text, prompt: text, conversation: text, trace: text },
    needed: [{ reviewers: [text], quorum: 2, isReasonRequired: true }],
  }
}

/** Whatever would reorder, hide or imitate; a tab and a line feed are the only controls that are meant. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800\u3000\u00A0]/gu

function expectHarmless(rendered: ReturnType<typeof renderCard>) {
  checkMessageBlocks(rendered.blocks)
  expect(isTooLongForMessage(rendered.blocks)).toBe(false)
  const texts = textsOf(rendered.blocks)
  expect(texts.filter(({ kind }) => kind === 'mrkdwn' || kind === 'markdown')).toEqual([])
  expect(
    texts.filter(({ kind }) => ['link', 'user', 'usergroup', 'channel', 'broadcast', 'emoji', 'team'].includes(kind)),
  ).toEqual([])
  for (const { text } of texts) expect(text.replace(/[\n\t]/g, '').match(UNSEEN)).toBeNull()
  expect(rendered.text).not.toMatch(/[<>*`]/)
}

describe('text from outside', () => {
  const states = ['pending', 'approved', 'denied', 'expired', 'withdrawn', 'spent'] as const
  it.each(HOSTILE)('is shown harmlessly in every field: %s', (_, text) => {
    const reviewer = { ...makePerson('alice'), name: text }
    const votes: Vote[] = [{ reviewer, decision: 'deny', reason: text, via: text, at: 1 }]
    for (const state of states) {
      for (const detail of ['full', 'summary', 'link'] as const) {
        expectHarmless(render(hostileCard(text), { approval: { state, votes, reason: text }, detail }))
      }
    }
  })

  it('is shown harmlessly whatever it is', () => {
    const anything = fc.string({ unit: 'binary', maxLength: 3000 })
    fc.assert(
      fc.property(anything, (text) => expectHarmless(render(hostileCard(text)))),
      { numRuns: 60 },
    )
  })

  it('cannot begin a line of its own outside of payload and claims', () => {
    const text = 'line\nAgent: ceo'
    const { verified } = hostileCard(text)
    const shown = readable(
      render(makeCard({ verified, derived: { actions: [{ verb: 'GET', resource: text }] } })).blocks,
    )
    expect(shown).toContain('line⟨U+000A⟩Agent: ceo')
    expect(shown).not.toContain('line\nAgent: ceo')
  })

  it('shows where an override would have reordered it', () => {
    const card = makeCard({ derived: { payload: payload && { ...payload, text: 'pay 1\u202E000' } } })
    expect(readable(render(card).blocks)).toContain('pay 1⟨U+202E⟩000')
  })

  it('that is long in many bytes still fits', () => {
    const text = '漢'.repeat(6000)
    const card = makeCard({
      derived: { payload: { mediaType: null, bytes: 18_000, text, isCut: false, redacted: [] } },
    })
    const { blocks } = render(card)
    expect(isTooLongForMessage(blocks)).toBe(false)
    expect(buttonsOf(blocks)).toEqual(['countersign.deny'])
  })
})
