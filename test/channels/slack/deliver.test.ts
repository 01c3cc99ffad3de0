import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock } from '../../../src/platform/clock.ts'
import { type Rig, type RigOptions, startRig } from './rig.ts'
import { buttonsOf, createFakeDesk, makeApproval, makeCard, readable } from './samples.ts'

let rig: Rig | null = null
async function start(options?: RigOptions): Promise<Rig> {
  rig = await startRig(options)
  return rig
}

afterEach(async () => {
  await rig?.close()
  rig = null
})

/** An approval that is old enough for somebody to have tried to post its card before. */
const old = makeApproval({ createdAt: Date.now() - 30_000 })
const denied = makeApproval({ state: 'denied', decidedAt: Date.now() })
const CHANNEL = 'C024FAKE'

describe('a card', () => {
  it('is posted once, with what finds it again', async () => {
    const { slack, deliver } = await start()
    const delivered = await deliver()
    const [message] = slack.state.messages
    expect(delivered).toEqual({
      result: 'delivered',
      posted: { channel: CHANNEL, ts: message?.ts },
      conversation: { channel: CHANNEL, ts: message?.ts },
    })
    expect(message?.metadata).toEqual({ event_type: 'countersign_approval', event_payload: { id: '7Q3FX2K9AB' } })
  })

  it('asks Slack for nothing else while it is fresh', async () => {
    const { slack, deliver, logged } = await start()
    await logged('Slack accepts the bot token')
    const before = slack.calls.length
    await deliver()
    expect(slack.calls.slice(before).map(({ method }) => method)).toEqual(['chat.postMessage'])
  })

  it('of the same conversation goes into its thread, and shows in the channel too', async () => {
    const { slack, deliver } = await start()
    const first = await deliver()
    const opened = first.result === 'delivered' ? first.conversation : null
    const approval = makeApproval({ id: 'SECONDCARD' })
    const second = await deliver({ approval, conversation: { key: 'conversation-1', opened } })
    expect(slack.state.messages[1]).toMatchObject({ thread_ts: slack.state.messages[0]?.ts, isBroadcast: true })
    expect(second).toMatchObject({ result: 'delivered', conversation: opened })
  })

  it('starts a new thread where the old one is gone, or was in another channel', async () => {
    const { slack, deliver } = await start()
    for (const opened of [
      { channel: CHANNEL, ts: '1.000100' },
      { channel: 'C0OTHER', ts: '1.000100' },
      { nonsense: true },
    ]) {
      const delivered = await deliver({ conversation: { key: 'conversation-1', opened } })
      const message = slack.state.messages.at(-1)
      expect(message?.thread_ts).toBeUndefined()
      expect(delivered).toMatchObject({ conversation: { channel: CHANNEL, ts: message?.ts } })
    }
  })

  it('that arrives after the decision is posted without buttons', async () => {
    const { slack, deliver } = await start()
    await deliver({ approval: { ...denied, createdAt: old.createdAt } })
    expect(buttonsOf(slack.state.messages[0]?.blocks)).toEqual([])
  })
})

describe('after a crash between posting and remembering', () => {
  it('the card is found again, not posted twice', async () => {
    const { slack, deliver } = await start()
    await deliver({ approval: makeApproval({ id: 'ANOTHER123' }) })
    const first = await deliver({ approval: old })
    const again = await deliver({ approval: old })
    expect(slack.state.messages).toHaveLength(2)
    expect(again).toEqual(first)
  })

  it('its thread is found again too', async () => {
    const { slack, deliver } = await start()
    const root = await deliver({ approval: makeApproval({ id: 'ANOTHER123' }) })
    const opened = root.result === 'delivered' ? root.conversation : null
    await deliver({ approval: old, conversation: { key: 'c', opened } })
    const again = await deliver({ approval: old })
    expect(slack.state.messages).toHaveLength(2)
    expect(again).toMatchObject({ conversation: opened })
  })

  it('a card whose answer was lost is found at once', async () => {
    const { slack, deliver } = await start()
    slack.mishap('chat.postMessage', { kind: 'lost' })
    const delivered = await deliver()
    expect(delivered).toMatchObject({ result: 'delivered', posted: { ts: slack.state.messages[0]?.ts } })
    expect(slack.state.messages).toHaveLength(1)
  })

  it('a fresh card whose answer was lost is looked for before it is posted again', async () => {
    const { slack, deliver } = await start()
    slack.mishap('chat.postMessage', { kind: 'lost' })
    slack.mishap('conversations.history', { kind: 'down' })
    await expect(deliver()).rejects.toThrow('may or may not have been posted')
    expect(await deliver()).toMatchObject({ result: 'delivered' })
    expect(slack.state.messages).toHaveLength(1)
  })

  it('somebody else’s message with the same metadata is not taken for ours', async () => {
    const { slack, deliver } = await start()
    slack.state.messages.push({
      channel: CHANNEL,
      ts: slack.state.nextTs(),
      bot_id: 'B0OTHER',
      thread_ts: undefined,
      isBroadcast: false,
      text: 'hello',
      blocks: [],
      metadata: { event_type: 'countersign_approval', event_payload: { id: old.id } },
      updates: 0,
    })
    await deliver({ approval: old })
    expect(slack.state.messages).toHaveLength(2)
  })

  it('it is found among many, page by page', async () => {
    const { slack, deliver } = await start()
    const first = await deliver({ approval: old })
    const [message] = slack.state.messages
    if (!message) expect.fail()
    for (let index = 0; index < 150; index++) {
      slack.state.messages.push({ ...message, ts: slack.state.nextTs(), metadata: undefined })
    }
    expect(await deliver({ approval: old })).toEqual(first)
    expect(slack.countCalls('conversations.history')).toBe(3)
  })

  it('and without leave to read the channel, it is posted again, and the log says why', async () => {
    const { slack, deliver, log } = await start({
      before: ({ state }) => {
        state.scopes.delete('channels:history')
        state.scopes.delete('groups:history')
      },
    })
    await deliver({ approval: old })
    expect(await deliver({ approval: old })).toMatchObject({ result: 'delivered' })
    expect(slack.state.messages).toHaveLength(2)
    expect(log()).toContain('a card may appear twice')
  })

  it('nothing is posted while it cannot be known whether it was', async () => {
    const { slack, deliver } = await start()
    for (const how of [{ kind: 'down' }, { kind: 'rate_limited', retryAfterS: 5 }] as const) {
      slack.mishap('conversations.history', how)
      await expect(deliver({ approval: old })).rejects.toMatchObject({ code: 'upstream' })
    }
    expect(slack.state.messages).toEqual([])
  })
})

describe('a reminder', () => {
  const NEED = { reviewers: ['group:finance'], quorum: 2, isReasonRequired: false }

  it('answers in the thread of the card, without buttons and without what the agent wrote', async () => {
    const { slack, deliver, card } = await start()
    const message = await card()
    const posted = { channel: CHANNEL, ts: message.ts }
    const told = makeCard({ needed: [NEED], derived: { actions: [{ verb: 'POST', resource: '/by-the-agent' }] } })
    expect(await deliver({ kind: 'reminder', posted, card: told })).toMatchObject({ result: 'delivered', posted })
    const [, reply] = slack.state.messages
    expect(reply).toMatchObject({ thread_ts: message.ts })
    expect(readable(reply?.blocks)).toMatch(/Still waiting.*Needs 2 approvals from.*group:finance/s)
    expect(readable(reply?.blocks)).not.toContain('by-the-agent')
    expect(buttonsOf(reply?.blocks)).toEqual([])
    expect(buttonsOf(message.blocks)).not.toEqual([])
  })

  it('says to whom it is open by now', async () => {
    const { slack, deliver, card } = await start()
    const message = await card()
    const posted = { channel: CHANNEL, ts: message.ts }
    const escalated = makeCard({ needed: [{ ...NEED, escalate: { at: Date.now() - 1000, to: ['group:managers'] } }] })
    await deliver({ kind: 'reminder', posted, card: escalated })
    expect(readable(slack.state.messages[1]?.blocks)).toMatch(/Escalated.*Now also open to.*group:managers/s)
  })

  it('is none of a card that was never posted', async () => {
    const { slack, deliver } = await start()
    expect(await deliver({ kind: 'reminder', posted: null })).toMatchObject({ result: 'dropped' })
    expect(slack.state.messages).toEqual([])
  })

  it('is never taken for the card', async () => {
    const { slack, deliver, card } = await start()
    const message = await card()
    await deliver({ kind: 'reminder', posted: { channel: CHANNEL, ts: message.ts } })
    await deliver({ kind: 'result', approval: denied })
    expect(readable(message.blocks)).toContain('Denied')
    expect(readable(slack.state.messages[1]?.blocks)).not.toContain('Denied')
  })

  it('waits while Slack is down', async () => {
    const { slack, deliver, card } = await start()
    const message = await card()
    slack.mishap('chat.postMessage', { kind: 'rate_limited', retryAfterS: 5 })
    expect(await deliver({ kind: 'reminder', posted: { channel: CHANNEL, ts: message.ts } })).toMatchObject({
      result: 'retry',
    })
  })
})

describe('a result', () => {
  it('changes the card and takes its buttons', async () => {
    const { slack, deliver, card, result } = await start()
    const message = await card()
    expect(await deliver({ kind: 'result', approval: denied, posted: { channel: CHANNEL, ts: message.ts } })).toEqual({
      result: 'delivered',
      posted: { channel: CHANNEL, ts: message.ts },
      conversation: { channel: CHANNEL, ts: message.ts },
    })
    expect(slack.state.messages).toHaveLength(1)
    expect(buttonsOf(message.blocks)).toEqual([])
    expect(readable(message.blocks)).toContain('Denied')
    expect(await result(message)).toMatchObject({ result: 'delivered' })
  })

  it('finds a card of which nothing is remembered', async () => {
    const { slack, deliver, card } = await start()
    const message = await card()
    await deliver({ kind: 'result', approval: denied })
    expect(slack.state.messages).toHaveLength(1)
    expect(buttonsOf(message.blocks)).toEqual([])
  })

  it.each([
    ['was never posted', () => {}],
    ['was deleted', ({ slack }: Rig) => slack.state.messages.splice(0)],
  ])('is posted anew, and says so, if the card %s', async (_, lose) => {
    const started = await start()
    const { slack, deliver } = started
    const posted = { channel: CHANNEL, ts: '1700000000.000100' }
    lose(started)
    await deliver({ kind: 'result', approval: denied, posted: lose.length > 0 ? posted : null })
    expect(slack.state.messages).toHaveLength(1)
    expect(readable(slack.state.messages[0]?.blocks)).toContain('this one stands in its place')
    expect(buttonsOf(slack.state.messages[0]?.blocks)).toEqual([])
  })

  it('is posted anew if the workspace no longer lets messages be changed', async () => {
    const { slack, card, result } = await start()
    const message = await card()
    slack.mishap('chat.update', { kind: 'error', error: 'edit_window_closed' })
    await result(message)
    expect(slack.state.messages).toHaveLength(2)
  })
})

describe('trouble', () => {
  const outages: [string, Parameters<Rig['slack']['mishap']>[1]][] = [
    ['down', { kind: 'down' }],
    ['answering 500', { kind: 'status', status: 500 }],
    ['answering 503', { kind: 'status', status: 503 }],
    ['hidden behind a page of somebody’s proxy', { kind: 'html' }],
    ['failing inside', { kind: 'error', error: 'internal_error' }],
    ['catastrophically failing', { kind: 'error', error: 'fatal_error' }],
  ]
  it.each(outages)('Slack %s: later, without giving up', async (_, how) => {
    const { slack, deliver, card, result } = await start()
    const message = await card()
    slack.mishap('chat.postMessage', how)
    const first = makeApproval({ id: 'FIRSTCARD0' })
    expect(await deliver({ approval: first })).toMatchObject({ result: 'retry', cause: expect.any(String) })
    slack.mishap('*', how, 100)
    const approval = makeApproval({ id: 'ANOTHER123' })
    await expect(deliver({ approval })).rejects.toMatchObject({ code: 'upstream' })
    expect(await result(message)).toMatchObject({ result: 'retry', cause: expect.any(String) })
    expect(await result(null)).toMatchObject({ result: 'retry', cause: expect.any(String) })
    slack.recover()
    expect(await deliver({ approval })).toMatchObject({ result: 'delivered' })
    expect(slack.state.messages).toHaveLength(2)
  })

  it('Slack slow: given up after the timeout, in one attempt', async () => {
    const { slack, deliver, logged } = await start({ timing: { timeoutMs: 200 } })
    await logged('Slack accepts the bot token')
    slack.mishap('chat.postMessage', { kind: 'slow', ms: 1000 })
    const started = performance.now()
    expect(await deliver()).toMatchObject({ result: 'retry' })
    expect(performance.now() - started).toBeLessThan(900)
    expect(slack.countCalls('chat.postMessage')).toBe(1)
  })

  it('a delivery that is called off ends at once', async () => {
    const { slack, channel, desk } = await start({ timing: { timeoutMs: 5000 } })
    slack.mishap('chat.postMessage', { kind: 'slow', ms: 1000 })
    const stop = new AbortController()
    const delivery = {
      kind: 'card',
      ...desk.current,
      posted: null,
      conversation: { key: 'c', opened: null },
    } as const
    const started = performance.now()
    const delivering = channel.deliver(delivery, stop.signal)
    await delay(50)
    stop.abort()
    await expect(delivering).rejects.toMatchObject({ code: 'upstream' })
    expect(performance.now() - started).toBeLessThan(900)
  })

  it('429: not before Slack says, and no attempt of our own in between', async () => {
    const { slack, deliver } = await start()
    slack.mishap('chat.postMessage', { kind: 'rate_limited', retryAfterS: 37 })
    expect(await deliver()).toMatchObject({ result: 'retry', afterMs: 37_000 })
    expect(slack.countCalls('chat.postMessage')).toBe(1)
  })

  it('Slack’s own rate: what is over it is not lost', async () => {
    const { deliver } = await start()
    const results = []
    for (let index = 0; index < 62; index++)
      results.push(await deliver({ approval: makeApproval({ id: `A${index}` }) }))
    const late = results.filter(({ result }) => result === 'retry')
    expect(late).toHaveLength(2)
    for (const one of late) expect(one).toMatchObject({ afterMs: expect.any(Number) })
  })

  const mendable: [string, (rig: Rig) => void][] = [
    [
      'a revoked token',
      ({ slack }) => {
        slack.state.isTokenRevoked = true
      },
    ],
    ['a missing scope', ({ slack }) => void slack.state.scopes.delete('chat:write')],
    ['a channel that is not there', ({ slack }) => void slack.state.channels.clear()],
    [
      'an archived channel',
      ({ slack }) => {
        ;(slack.state.channels.get(CHANNEL) ?? expect.fail()).isArchived = true
      },
    ],
    [
      'a channel the app is not in',
      ({ slack }) => {
        ;(slack.state.channels.get(CHANNEL) ?? expect.fail()).isMember = false
      },
    ],
    [
      'an error Slack has not told us of',
      ({ slack }) => slack.mishap('chat.postMessage', { kind: 'error', error: 'team_quota' }),
    ],
  ]
  it.each(mendable)('%s: loudly, every minute, while people could still decide', async (_, trouble) => {
    const started = await start()
    const { deliver, log } = started
    trouble(started)
    expect(await deliver()).toMatchObject({ result: 'retry', afterMs: 60_000 })
    expect(log()).toMatch(/"level":"error".*Slack does not take a card/)
  })

  it.each(mendable.slice(0, -1))('%s: dropped, with its cause, once nobody can decide any more', async (_, trouble) => {
    const started = await start()
    trouble(started)
    const approval = makeApproval({ expiresAt: Date.now() - 1 })
    expect(await started.deliver({ approval })).toMatchObject({
      result: 'dropped',
      cause: expect.stringMatching(/^Slack refused: /),
    })
  })

  it('a result that Slack refuses is tried for a day', async () => {
    let ahead = 0
    const clock: Clock = { now: () => Date.now() + ahead, monotonic: systemClock.monotonic }
    const { slack, deliver } = await start({ clock })
    await deliver()
    slack.state.isTokenRevoked = true
    const approval = makeApproval({ state: 'expired', expiresAt: Date.now() })
    const posted = { channel: CHANNEL, ts: slack.state.messages[0]?.ts ?? '' }
    expect(await deliver({ kind: 'result', approval, posted })).toMatchObject({ result: 'retry' })
    ahead = 25 * 3_600_000
    expect(await deliver({ kind: 'result', approval, posted })).toMatchObject({ result: 'dropped' })
  })
})

describe('a card that Slack refuses for its content', () => {
  it.each(['invalid_blocks', 'msg_blocks_too_long', 'msg_too_long'])('%s: the least is sent instead', async (error) => {
    const { slack, deliver, log } = await start()
    slack.mishap('chat.postMessage', { kind: 'error', error })
    expect(await deliver()).toMatchObject({ result: 'delivered' })
    const [message] = slack.state.messages
    expect(readable(message?.blocks)).toContain('countersign approvals show 7Q3FX2K9AB')
    expect(buttonsOf(message?.blocks)).toEqual(['countersign.deny'])
    expect(log()).toContain(error)
  })

  it('is dropped if Slack does not take the least either', async () => {
    const { slack, deliver } = await start()
    slack.mishap('chat.postMessage', { kind: 'error', error: 'invalid_blocks' }, 2)
    expect(await deliver()).toEqual({ result: 'dropped', cause: 'Slack refused: invalid_blocks' })
  })
})

describe('what is sent', () => {
  it('is taken by Slack whole, for a call as large and as strange as they come', async () => {
    const text = '<!channel> *x* \u202E 漢😀 '.repeat(3000)
    const card = makeCard({
      verified: { agent: text, issuer: text, onBehalfOf: text, owner: text, groups: Array(50).fill(text) },
      claimed: { reason: text, model: text, prompt: text, conversation: text, trace: text },
      derived: {
        labels: Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`l${index}`, text])),
        actions: Array(200).fill({ verb: text, resource: text }),
        payload: { mediaType: text, bytes: 1e9, text, isCut: true, redacted: Array(100).fill(text) },
        rules: Array(50).fill({ name: text, message: text }),
        notes: Array(50).fill(text),
      },
      needed: Array(50).fill({ reviewers: Array(50).fill(text), quorum: 3, isReasonRequired: true }),
    })
    const { slack, deliver, log } = await start({ desk: createFakeDesk(makeApproval(), card) })
    expect(await deliver()).toMatchObject({ result: 'delivered' })
    expect(log()).not.toContain('refused')
    const call = slack.calls.find(({ method }) => method === 'chat.postMessage')
    expect(call?.args.get('text')).toBe('Decision needed: approval 7Q3FX2K9AB')
    expect(call?.args.get('blocks')).not.toContain('mrkdwn')
    expect(Object.fromEntries(call?.args ?? [])).toMatchObject({
      parse: 'none',
      link_names: 'false',
      unfurl_links: 'false',
    })
  })

  it('never shows up in the log, nor do tokens', async () => {
    const { slack, deliver, card, log } = await start()
    const message = await card()
    slack.mishap('*', { kind: 'status', status: 500 }, 2)
    await expect(deliver()).rejects.toThrow()
    slack.mishap('*', { kind: 'down' }, 2)
    await expect(deliver()).rejects.toThrow()
    slack.recover()
    await slack.press('U0ALICE', message, 'countersign.approve')
    expect(log()).not.toMatch(/xoxb-|xapp-|ticket-|amount|paid twice/)
  })
})
