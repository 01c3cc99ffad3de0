import { afterEach, describe, expect, it } from 'vitest'
import type { Delivery } from '../../../src/domain/channel.ts'
import type { JsonObject } from '../../../src/domain/json.ts'
import { type Rig, startRig } from './rig.ts'
import { makeApproval, makeCard, readable } from './samples.ts'

let rig: Rig | null = null
afterEach(async () => {
  await rig?.close()
  rig = null
})

/** What the outbox keeps of an approval's card, and of its conversation. */
interface Kept {
  readonly posted: JsonObject
  readonly opened: JsonObject | null
}

/** One run of an agent: three calls that are held, one after the other. */
async function startRun() {
  rig = await startRig()
  const { slack, deliver } = rig
  let opened: JsonObject | null = null
  const kept: Kept[] = []
  for (const id of ['CARD000001', 'CARD000002', 'CARD000003']) {
    const result = await deliver({ approval: makeApproval({ id }), conversation: { key: 'run', opened } })
    if (result.result !== 'delivered') throw new Error(JSON.stringify(result))
    opened ??= result.conversation
    kept.push({ posted: result.posted, opened })
  }
  const [first, second, third] = kept
  if (!first || !second || !third) throw new Error('there are three')

  async function tell(kind: Delivery['kind'], of: Kept, more: Partial<Delivery> = {}) {
    return deliver({ kind, posted: of.posted, conversation: { key: 'run', opened: of.opened }, ...more })
  }
  return { slack, first, second, third, tell, root: String(first.posted['ts']) }
}

const threads = ({ slack }: Pick<Rig, 'slack'>) => slack.state.messages.map(({ thread_ts }) => thread_ts)

describe('one run of an agent', () => {
  it('is one thread: its cards, shown in the channel too', async () => {
    const { slack, root } = await startRun()
    expect(threads({ slack })).toEqual([undefined, root, root])
    expect(slack.state.messages.map(({ isBroadcast }) => isBroadcast)).toEqual([false, true, true])
  })

  it('has its reminders and escalations in it, of whichever card', async () => {
    const { slack, first, third, tell, root } = await startRun()
    const needed = [
      { reviewers: ['group:finance'], quorum: 1, isReasonRequired: false, escalate: { at: 1, to: ['group:managers'] } },
    ]
    expect(await tell('reminder', first)).toMatchObject({ result: 'delivered' })
    expect(await tell('reminder', third, { card: makeCard({ needed }) })).toMatchObject({ result: 'delivered' })
    expect(threads({ slack }).slice(3)).toEqual([root, root])
    expect(slack.state.messages.slice(3).every(({ isBroadcast }) => isBroadcast)).toBe(true)
    expect(readable(slack.state.messages[4]?.blocks)).toContain('Escalated, and still waiting')
  })

  it('has its results, notices of overrides and claims where its cards are: nothing new is posted', async () => {
    const { slack, second, tell, root } = await startRun()
    const reviewer = { issuer: 'https://idp.example.com', subject: 'alice', name: 'Alice' }
    const claim = { reviewer, via: 'console', at: Date.now(), until: Date.now() + 900_000 }
    await tell('result', second, { approval: makeApproval({ id: 'CARD000002', claim }) })
    const message = slack.state.messages[1]
    expect(readable(message?.blocks)).toContain('Looked at by Alice')
    const vote = {
      reviewer: { ...reviewer, groups: [], roles: [], assurance: 'oidc', authenticatedAt: null },
      decision: 'approve',
      reason: 'It burns.',
      via: 'override:console',
      at: Date.now(),
    } as const
    const overridden = makeApproval({
      id: 'CARD000002',
      state: 'approved',
      decidedAt: Date.now(),
      useBy: Date.now(),
      votes: [vote],
    })
    await tell('result', second, { approval: overridden })
    expect(readable(message?.blocks)).toContain('OVERRIDE')
    expect(threads({ slack })).toEqual([undefined, root, root])
  })

  it('keeps a card that has to be posted again in the thread', async () => {
    const { slack, second, tell, root } = await startRun()
    slack.mishap('chat.update', { kind: 'error', error: 'message_not_found' })
    const denied = makeApproval({ id: 'CARD000002', state: 'denied', decidedAt: Date.now() })
    expect(await tell('result', second, { approval: denied })).toMatchObject({ result: 'delivered' })
    expect(threads({ slack })).toEqual([undefined, root, root, root])
    expect(readable(slack.state.messages[3]?.blocks)).toContain('could not be found or changed')
  })

  it('reminds under the card itself where somebody removed the first one', async () => {
    const { slack, root } = await startRun()
    slack.state.messages.splice(0, 1)
    if (!rig) throw new Error('it runs')
    // As the outbox would: the conversation still names the first card.
    const opened = { channel: 'C024FAKE', ts: root }
    const posted = await rig.deliver({
      approval: makeApproval({ id: 'CARD000004' }),
      conversation: { key: 'run', opened },
    })
    if (posted.result !== 'delivered') throw new Error(JSON.stringify(posted))
    const ts = String(posted.posted['ts'])
    const reminded = await rig.deliver({
      kind: 'reminder',
      posted: posted.posted,
      conversation: { key: 'run', opened },
    })
    expect(reminded).toMatchObject({ result: 'delivered' })
    expect(slack.state.messages.at(-1)?.thread_ts).toBe(ts)
  })
})
