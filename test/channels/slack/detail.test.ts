import { afterEach, describe, expect, it } from 'vitest'
import { formatButton } from '../../../src/channels/slack/button.ts'
import type { Approval, State, Vote } from '../../../src/domain/approval.ts'
import type { CardDetail, Delivery } from '../../../src/domain/channel.ts'
import type { Precedent, Precedents } from '../../../src/domain/precedent.ts'
import { type Rig, startRig } from './rig.ts'
import { allButtonsOf, createFakeDesk, makeApproval, makeCard, makePerson } from './samples.ts'

let rig: Rig | null = null
afterEach(async () => {
  await rig?.close()
  rig = null
})

/** What an agent wrote, or what its call is about: each marked, so that it is found wherever it goes. */
const CALL = {
  agent: 'mark-agent',
  onBehalfOf: 'mark-behalf',
  owner: 'mark-owner',
  group: 'mark-group',
  upstream: 'mark-upstream',
  label: 'mark-label',
  verb: 'mark-verb',
  resource: 'mark-resource',
  mediaType: 'mark-media',
  rule: 'mark-rule',
  message: 'mark-message',
  note: 'mark-note',
  digest: 'feedface00000000',
}
const PAYLOAD = { payload: 'mark-payload', pointer: 'mark-pointer', field: 'mark-field' }
const CLAIMS = {
  reason: 'mark-reason',
  model: 'mark-model',
  prompt: 'mark-prompt',
  trace: 'mark-trace',
  talk: 'mark-talk',
}
/** What an earlier call held: no card of this one shows it. */
const EARLIER = { before: 'mark-before' }
/** What a reviewer wrote, of the call most likely. */
const WORDS = { words: 'mark-words' }
/** The same, of an earlier call. */
const EARLIER_WORDS = { earlier: 'mark-said-earlier' }

const digest = CALL.digest.padEnd(64, '0')
const card = makeCard({
  verified: {
    agent: CALL.agent,
    issuer: 'https://idp.example.com/mark-issuer',
    onBehalfOf: CALL.onBehalfOf,
    owner: CALL.owner,
    groups: [CALL.group],
  },
  derived: {
    upstream: CALL.upstream,
    labels: { environment: CALL.label },
    actions: [{ verb: CALL.verb, resource: CALL.resource }],
    payload: { mediaType: CALL.mediaType, bytes: 32, text: PAYLOAD.payload, isCut: false, redacted: [] },
    digest,
    rules: [{ name: CALL.rule, message: CALL.message }],
    notes: [CALL.note],
  },
  claimed: {
    reason: CLAIMS.reason,
    model: CLAIMS.model,
    prompt: CLAIMS.prompt,
    trace: CLAIMS.trace,
    conversation: CLAIMS.talk,
  },
  needed: [
    { reviewers: ['group:finance'], quorum: 2, isReasonRequired: false, escalate: { at: 1, to: ['group:managers'] } },
  ],
})
const { payload } = card.derived
const redacted = makeCard({
  ...card,
  derived: { ...card.derived, payload: payload && { ...payload, isCut: true, redacted: [PAYLOAD.pointer] } },
})
const { issuer, name } = makePerson('alice')
const reviewer = { issuer, subject: 'alice', name }
const precedent: Precedent = {
  approval: 'EARLIER123',
  at: 1_700_000_000_000,
  by: [{ reviewer, reason: EARLIER_WORDS.earlier, via: 'console' }],
  difference: {
    extent: 'content',
    changes: [{ at: PAYLOAD.field, before: EARLIER.before, now: PAYLOAD.payload }],
    more: 0,
    unseen: ['off_card'],
  },
}
const precedents: Precedents = {
  withinMs: 86_400_000,
  isPartial: false,
  approved: 3,
  identical: 1,
  overridden: 0,
  granted: 2,
  denied: 1,
  approvers: [{ reviewer, times: 3 }],
  lastApproved: precedent,
  lastDenied: precedent,
}
const claim = { reviewer, via: 'console', at: 1_700_000_000_000, until: 1_800_000_000_000 }
const vote = (via: string, decision: Vote['decision'] = 'approve'): Vote => {
  return { reviewer: makePerson('alice'), decision, reason: WORDS.words, via, at: 1_700_000_000_000 }
}

function approvalOf(more: Partial<Approval> = {}): Approval {
  const plain = makeApproval({ upstream: CALL.upstream, verb: CALL.verb, resource: CALL.resource, digest, ...more })
  return { ...plain, requester: { ...plain.requester, subject: CALL.agent } }
}

interface Sent {
  /** All that Slack was sent while it waits, and after that. */
  readonly pending: string
  readonly over: string
  readonly reminders: string
}

/** Everything that this channel ever sends, of one call and about it. */
async function sendAll(detail: CardDetail): Promise<Sent> {
  const desk = createFakeDesk(approvalOf(), card)
  desk.before = precedents
  rig = await startRig({ detail, desk })
  const { slack, deliver, channel } = rig
  const signal = new AbortController().signal
  const since = (from: number) =>
    slack.calls
      .slice(from)
      .map(({ args }) => JSON.stringify([...args]))
      .join('\n')

  const message = await rig.card()
  await slack.press('U0ALICE', message, 'countersign.claim')
  const posted = { channel: message.channel, ts: message.ts }
  for (const approval of [approvalOf({ claim }), approvalOf({ votes: [vote('console')] })]) {
    await deliver({ kind: 'result', approval, precedents, posted })
  }
  // One of two votes, so that the card is changed at once; where it was not offered, that is told.
  desk.current = { approval: approvalOf(), card }
  const button = { type: 'button', action_id: 'countersign.approve', value: formatButton(approvalOf()) }
  await slack.press('U0ALICE', message, 'countersign.approve', { blocks: [{ type: 'actions', elements: [button] }] })
  expect(message.updates).toBe(detail === 'full' ? 3 : 2)
  await slack.press('U0ERIN', message, 'countersign.claim')
  await slack.press('U0BOB', message, 'countersign.deny')
  slack.mishap('chat.postMessage', { kind: 'error', error: 'invalid_blocks' })
  await deliver({ approval: approvalOf({ id: 'LEAST12345' }), precedents })
  await deliver({ approval: approvalOf({ id: 'REDACTED12' }), card: redacted, precedents })
  const conversation = { key: 'c', opened: posted }
  await deliver({ approval: approvalOf({ id: 'INTHREAD12' }), precedents, conversation })
  const pending = since(0)

  let from = slack.calls.length
  for (const now of [{}, { claim }]) {
    const delivery: Delivery = { kind: 'reminder', approval: approvalOf(now), card, posted, conversation }
    expect(await channel.deliver(delivery, signal)).toMatchObject({ result: 'delivered' })
  }
  const reminders = since(from)

  from = slack.calls.length
  const ends: [State, Partial<Approval>][] = [
    ['approved', { votes: [vote('console')], useBy: Date.now() }],
    ['approved', { votes: [vote('override:console')], useBy: Date.now() }],
    ['approved', { votes: [vote('grant:7Q3F000000')], useBy: Date.now() }],
    ['spent', { votes: [vote('api')] }],
    ['denied', { votes: [vote('console', 'deny')], reason: WORDS.words }],
    ['expired', {}],
    ['withdrawn', { reason: 'policy_changed' }],
  ]
  for (const [state, more] of ends) {
    const approval = approvalOf({ state, decidedAt: Date.now(), ...more })
    expect(await deliver({ kind: 'result', approval, posted })).toMatchObject({ result: 'delivered' })
    slack.mishap('chat.update', { kind: 'error', error: 'invalid_blocks' })
    expect(await deliver({ kind: 'result', approval, posted })).toMatchObject({ result: 'delivered' })
  }
  // The message is gone, and another is posted in its place.
  const lost = { channel: message.channel, ts: '1.000100' }
  const denied = approvalOf({ state: 'denied', decidedAt: Date.now(), votes: [vote('console', 'deny')] })
  expect(await deliver({ kind: 'result', approval: denied, posted: lost })).toMatchObject({ result: 'delivered' })
  return { pending, reminders, over: since(from) }
}

function found(text: string, marks: Readonly<Record<string, string>>): string[] {
  return Object.values(marks).filter((mark) => text.includes(mark))
}

describe('what reaches Slack', () => {
  it('with `full`: all of the call while it waits, and of an earlier one nothing', async () => {
    const { pending, reminders, over } = await sendAll('full')
    expect(found(pending, { ...CALL, ...PAYLOAD, ...CLAIMS, ...WORDS })).toHaveLength(
      Object.keys({ ...CALL, ...PAYLOAD, ...CLAIMS, ...WORDS }).length,
    )
    expect(pending).toContain('approved 3 times, 1 with the same content')
    expect(found(pending + reminders + over, EARLIER)).toEqual([])
    expect(found(pending, EARLIER_WORDS)).toHaveLength(1)
    expect(found(reminders + over, EARLIER_WORDS)).toEqual([])
    expect(found(reminders, { ...CALL, ...PAYLOAD, ...CLAIMS })).toEqual([])
    // What was decided stays without its content.
    expect(found(over, { ...PAYLOAD, ...CLAIMS })).toEqual([])
    expect(found(over, WORDS)).toEqual(Object.values(WORDS))
  })

  it('with `summary`: who calls and what it would do, without payload and claims', async () => {
    const { pending, reminders, over } = await sendAll('summary')
    expect(found(pending, CALL)).toEqual(Object.values(CALL))
    expect(pending).toContain('approved 3 times, 1 with the same content')
    expect(pending).toContain('Looked at by')
    expect(found(pending + reminders + over, { ...PAYLOAD, ...CLAIMS, ...EARLIER })).toEqual([])
    expect(found(reminders, CALL)).toEqual([])
  })

  it('with `link`: an id, who has to decide and who did, and nothing of the call', async () => {
    const { pending, reminders, over } = await sendAll('link')
    const all = `${pending}\n${reminders}\n${over}`
    expect(found(all, { ...CALL, ...PAYLOAD, ...CLAIMS, ...EARLIER, ...WORDS })).toEqual([])
    expect(all).not.toContain('mark-')
    expect(all).not.toContain('approved 3 times')
    expect(pending).toContain('group:finance')
    expect(pending).toContain('Looked at by')
    expect(reminders).toContain('Looked at by')
    expect(over).toContain('OVERRIDE')
    expect(over).toContain('Denied by ')
  })

  it.each(['full', 'summary', 'link'] as const)('with `%s` no button outlives the decision', async (detail) => {
    rig = await startRig({ detail, desk: createFakeDesk(approvalOf({ claim }), card) })
    const message = await rig.card()
    expect(allButtonsOf(message.blocks)).toEqual(expect.arrayContaining(['countersign.claim', 'countersign.release']))
    const approval = approvalOf({ state: 'denied', decidedAt: Date.now(), claim })
    await rig.deliver({ kind: 'result', approval, posted: { channel: message.channel, ts: message.ts } })
    expect(allButtonsOf(message.blocks)).toEqual([])
    expect(JSON.stringify(message.blocks)).not.toContain('Looked at by')
  })
})
