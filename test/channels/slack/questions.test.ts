import { afterEach, describe, expect, it } from 'vitest'
import type { AskFault } from '../../../src/domain/question.ts'
import { type Mode, type Rig, type RigOptions, startRig } from './rig.ts'
import { allButtonsOf, createFakeDesk, makeApproval, makeQuestion, readable, textsOf } from './samples.ts'

const APPROVE = 'countersign.approve'
const DENY = 'countersign.deny'
const ASK = 'countersign.ask'
/** Buttons, but for those that say who is looking. */
const buttonsOf = (blocks: unknown) => allButtonsOf(blocks).filter((id) => id !== 'countersign.claim')
const MODES: Mode[] = ['socket', 'http']
const HOSTILE = '<!channel> *bold* <https://evil.test|here> \u202e</q>'

let rig: Rig | null = null
async function start(options?: RigOptions): Promise<Rig> {
  rig = await startRig(options)
  return rig
}
afterEach(async () => {
  await rig?.close()
  rig = null
})

/** The agent replies, and the channel is owed news of it. */
async function news({ desk, deliver }: Rig, message: { channel: string; ts: string }, text: string | null) {
  const { questions = [] } = desk.current
  const replied = questions.map((one) => (text === null ? one : { ...one, reply: { text, at: Date.now() } }))
  desk.current = { ...desk.current, questions: replied }
  return deliver({ kind: 'question', posted: { channel: message.channel, ts: message.ts } })
}

describe.each(MODES)('over %s', (mode) => {
  it('a question goes from the button to the agent, and the reply back to the card and its thread', async () => {
    const own = await start({ mode })
    const { slack, desk, card } = own
    const message = await card()
    expect(buttonsOf(message.blocks)).toEqual([APPROVE, DENY, ASK])
    await slack.press('U0ALICE', message, ASK)
    expect(await slack.submit('U0ALICE', 'Which order?')).toMatchObject({ status: 200, body: null })
    expect(desk.asked).toEqual([
      { approval: '7Q3FX2K9AB', text: 'Which order?', via: 'slack', by: expect.objectContaining({ subject: 'alice' }) },
    ])
    expect(await news(own, message, null)).toMatchObject({ result: 'delivered' })
    expect(readable(message.blocks)).toMatch(/Alice asked: Which order\?.*has not replied/s)
    expect(buttonsOf(message.blocks)).toEqual([APPROVE, DENY])

    const stale = message.blocks
    await news(own, message, HOSTILE)
    const replies = slack.state.messages.filter(({ thread_ts: thread }) => thread === message.ts)
    expect(readable(replies[0]?.blocks)).toContain('The agent was asked')
    expect(readable(replies[1]?.blocks)).toMatch(/The agent replied.*Which order\?.*<!channel>/s)
    expect(buttonsOf(replies.map(({ blocks }) => blocks))).toEqual([])
    const shown = readable(message.blocks)
    expect(shown).toMatch(/its replies are its claims.*⟨U\+202E⟩<\/q>/s)
    for (const { kind, text } of textsOf([message.blocks, replies])) {
      if (text.includes('<!channel>')) expect(kind).toBe('text')
    }
    // Who still sees the card as it was has not seen the reply.
    await slack.press('U0BOB', message, APPROVE, { blocks: stale })
    expect(desk.ballots).toEqual([])
    expect(slack.state.ephemerals).toMatchObject([{ user: 'U0BOB', text: expect.stringContaining('an older card') }])
    await slack.press('U0BOB', message, APPROVE)
    expect(desk.ballots).toMatchObject([{ decision: 'approve', replies: 1 }])
  })

  it('a replayed question is asked once', async () => {
    const { slack, desk, card } = await start({ mode })
    await slack.press('U0ALICE', await card(), ASK)
    await slack.submit('U0ALICE', 'Which order?')
    expect((await slack.send({ ...slack.lastPayload() })).status).toBe(200)
    expect(desk.asked).toHaveLength(1)
  })
})

describe('a question that is not asked', () => {
  it.each<[AskFault, RegExp]>([
    ['not_found', /no approval/],
    ['not_entitled', /does not name you/],
    ['self_approval', /requesting side/],
    ['already_decided', /already decided/],
    ['question_open', /has not replied/],
    ['too_many_questions', /Enough was asked/],
  ])('is answered in the modal: %s', async (fault, words) => {
    const { slack, desk, card } = await start()
    await slack.press('U0ALICE', await card(), ASK)
    desk.answerNextAsk({ asked: false, fault })
    const taken = await slack.submit('U0ALICE', 'Why?')
    expect(taken.body).toMatchObject({ response_action: 'update' })
    expect(readable(taken.body)).toMatch(words)
  })

  it('has to say something', async () => {
    const { slack, desk, card } = await start()
    await slack.press('U0ALICE', await card(), ASK)
    desk.answerNextAsk({ asked: false, fault: 'nothing_asked' })
    const taken = await slack.submit('U0ALICE', '  ')
    expect(taken.body).toEqual({ response_action: 'errors', errors: { question: expect.any(String) } })
  })

  it('is not even typed while another is open, or when all were asked', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    const all = Array.from({ length: 5 }, () => makeQuestion({ reply: { text: 'Yes.', at: 0 } }))
    for (const questions of [[makeQuestion()], all]) {
      desk.current = { ...desk.current, questions }
      await slack.press('U0ALICE', message, ASK)
      expect(slack.openView('U0ALICE')).toBeUndefined()
    }
    expect(slack.state.ephemerals).toHaveLength(2)
    expect(desk.asked).toEqual([])
  })

  it('by somebody who is not linked is none', async () => {
    const { slack, desk, card } = await start()
    await slack.press('U0ERIN', await card(), ASK)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('not linked') }])
    expect(desk.asked).toEqual([])
  })

  it('of a form that Slack never sends is ignored', async () => {
    const { slack, desk, card, logged } = await start()
    await slack.press('U0ALICE', await card(), ASK)
    await slack.submit('U0ALICE', 'Why?', {
      alter: (payload) => ({ ...payload, view: { ...(payload['view'] as object), private_metadata: '{}' } }),
    })
    await logged('a question of another form')
    expect(desk.asked).toEqual([])
  })
})

describe('news of a question', () => {
  const questions = [makeQuestion({ reply: { text: 'The secret order.', at: Date.now() } })]

  it.each(['summary', 'link'] as const)('says in %s that there is a reply, and not which', async (detail) => {
    const own = await start({ detail, desk: createFakeDesk() })
    const message = await own.card()
    own.desk.current = { ...own.desk.current, questions }
    await own.deliver({ kind: 'question', posted: { channel: message.channel, ts: message.ts } })
    const all = readable(own.slack.state.messages.map(({ blocks }) => blocks))
    expect(all).toContain('The agent replied')
    expect(all).not.toContain('secret')
  })

  it('does not bring back the buttons of a card that was decided meanwhile', async () => {
    const { slack, desk, card, deliver, result } = await start()
    const message = await card()
    const pending = { ...desk.current, questions }
    desk.current = { ...pending, approval: makeApproval({ state: 'denied', decidedAt: Date.now() }) }
    await result(message)
    await deliver({ ...pending, kind: 'question', posted: { channel: message.channel, ts: message.ts } })
    expect(buttonsOf(message.blocks)).toEqual([])
    expect(slack.state.messages[0]).toBe(message)
  })

  it('is none of a card that was never posted, and is tried again while Slack is away', async () => {
    const { slack, desk, card, deliver } = await start()
    expect(await deliver({ kind: 'question', posted: null })).toMatchObject({ result: 'dropped' })
    const message = await card()
    const posted = { channel: message.channel, ts: message.ts }
    desk.current = { ...desk.current, questions }
    for (const method of ['chat.update', 'chat.postMessage'] as const) {
      slack.mishap(method, { kind: 'down' })
      expect(await deliver({ kind: 'question', posted })).toMatchObject({ result: 'retry' })
    }
    expect(await deliver({ kind: 'question', posted })).toMatchObject({ result: 'delivered', posted })
  })
})

it('a card full of questions and replies still fits into a message', async () => {
  const long = Array.from({ length: 5 }, () =>
    makeQuestion({ text: 'x'.repeat(1000), reply: { text: 'x'.repeat(1000), at: 0 } }),
  )
  const { desk, card } = await start({ desk: createFakeDesk() })
  desk.current = { ...desk.current, questions: long }
  const message = await card()
  expect(buttonsOf(message.blocks)).toEqual([APPROVE, DENY])
  expect(readable(message.blocks)).toContain('(cut)')
})
