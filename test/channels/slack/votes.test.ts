import { afterEach, describe, expect, it } from 'vitest'
import type { BallotFault } from '../../../src/domain/approval.ts'
import { type Mode, type Rig, type RigOptions, startRig } from './rig.ts'
import { buttonsOf, createFakeDesk, makeApproval, makeCard, readable } from './samples.ts'

const APPROVE = 'countersign.approve'
const DENY = 'countersign.deny'
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

function needing(quorum: number, isReasonRequired = false) {
  return makeCard({ needed: [{ reviewers: ['group:finance'], quorum, isReasonRequired }] })
}

function deskNeeding(quorum: number, isReasonRequired = false) {
  return createFakeDesk(makeApproval(), needing(quorum, isReasonRequired))
}

describe.each(MODES)('over %s', (mode) => {
  it('an approval goes from card to ballot to result', async () => {
    const { slack, desk, card, result } = await start({ mode })
    const message = await card()
    const taken = await slack.press('U0ALICE', message, APPROVE)
    expect(taken).toMatchObject({ status: 200, body: null })
    expect(desk.ballots).toEqual([
      {
        approval: '7Q3FX2K9AB',
        cardHash: 'ca'.repeat(32),
        decision: 'approve',
        reason: null,
        via: 'slack',
        reviewer: expect.objectContaining({ subject: 'alice', assurance: 'slack', authenticatedAt: null }),
      },
    ])
    expect(await result(message)).toMatchObject({ result: 'delivered' })
    expect(buttonsOf(message.blocks)).toEqual([])
    expect(readable(message.blocks)).toContain('Approved by Alice (slack)')
    expect(slack.state.ephemerals).toEqual([])
    expect(slack.state.messages).toHaveLength(1)
  })

  it('a denial asks for a reason, and carries it', async () => {
    const { slack, desk, card, result } = await start({ mode })
    const message = await card()
    await slack.press('U0ALICE', message, DENY)
    expect(desk.ballots).toEqual([])
    expect(await slack.submit('U0ALICE', '  Wrong customer. ')).toMatchObject({ status: 200, body: null })
    expect(desk.ballots).toMatchObject([{ decision: 'deny', reason: 'Wrong customer.' }])
    expect(slack.openView('U0ALICE')).toBeUndefined()
    await result(message)
    expect(readable(message.blocks)).toMatch(/Denied by Alice.*Wrong customer\./s)
  })

  it('a replayed press, byte for byte, is not a second ballot', async () => {
    const { slack, desk, card, logged } = await start({ mode, desk: deskNeeding(2) })
    await slack.press('U0ALICE', await card(), APPROVE)
    const payload = slack.lastPayload()
    expect((await slack.send({ ...payload })).status).toBe(200)
    await logged('a press was delivered twice')
    expect(desk.ballots).toHaveLength(1)
  })

  it('a replayed submission is not a second ballot', async () => {
    const { slack, desk, card } = await start({ mode })
    await slack.press('U0ALICE', await card(), DENY)
    await slack.submit('U0ALICE', 'no')
    expect((await slack.send({ ...slack.lastPayload() })).status).toBe(200)
    expect(desk.ballots).toHaveLength(1)
  })

  it('a slow store does not keep Slack waiting, and the vote still counts', async () => {
    const { slack, desk, card, channel } = await start({ mode, timing: { ackMs: 100 } })
    const message = await card()
    const gate = Promise.withResolvers<void>()
    desk.answerNext(async () => {
      await gate.promise
      return { counted: false, fault: 'not_entitled', approval: null }
    })
    const taken = await slack.press('U0ALICE', message, APPROVE)
    expect(taken.status).toBe(200)
    expect(taken.tookMs).toBeLessThan(2000)
    gate.resolve()
    await channel.stop()
    expect(slack.state.ephemerals).toMatchObject([{ user: 'U0ALICE' }])
  })
})

describe('a reason', () => {
  it('is asked for before an approval whose rule requires one', async () => {
    const { slack, desk, card } = await start({ desk: deskNeeding(1, true) })
    await slack.press('U0ALICE', await card(), APPROVE)
    expect(desk.ballots).toEqual([])
    await slack.submit('U0ALICE', 'checked with the customer')
    expect(desk.ballots).toMatchObject([{ decision: 'approve', reason: 'checked with the customer' }])
  })

  it('that is only spaces is asked for again where one is required', async () => {
    const { slack, desk, card } = await start({ desk: deskNeeding(1, true) })
    await slack.press('U0ALICE', await card(), APPROVE)
    desk.answerNext(() => ({ counted: false, fault: 'reason_required', approval: null }))
    const taken = await slack.submit('U0ALICE', '   ')
    expect(taken.body).toEqual({ response_action: 'errors', errors: { reason: expect.any(String) } })
    await slack.submit('U0ALICE', 'a reason')
    expect(desk.ballots.map(({ reason }) => reason)).toEqual([null, 'a reason'])
  })

  it('cannot be left out where it is required, and can be of other denials', async () => {
    const { slack, desk, card } = await start()
    await slack.press('U0ALICE', await card(), DENY)
    await slack.submit('U0ALICE', null)
    expect(desk.ballots).toMatchObject([{ decision: 'deny', reason: null }])
  })

  it('is not asked for when Slack no longer opens a modal, which the person is told', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    slack.mishap('views.open', { kind: 'error', error: 'expired_trigger_id' })
    await slack.press('U0ALICE', message, DENY)
    expect(slack.state.ephemerals).toMatchObject([
      { user: 'U0ALICE', text: expect.stringContaining('press the button again') },
    ])
    expect(desk.ballots).toEqual([])
  })

  it('typed for a card that was superseded meanwhile is refused in the modal', async () => {
    const { slack, desk, card } = await start()
    await slack.press('U0ALICE', await card(), DENY)
    desk.current = { ...desk.current, approval: makeApproval({ cardHash: 'cb'.repeat(32) }) }
    const taken = await slack.submit('U0ALICE', 'no')
    expect(taken.body).toMatchObject({ response_action: 'update' })
    expect(readable(taken.body)).toContain('an older card')
    expect(slack.state.ephemerals).toEqual([])
  })
})

describe('several people', () => {
  it('who press twice are counted once, and the card says so', async () => {
    const { slack, desk, card } = await start({ desk: deskNeeding(2) })
    const message = await card()
    await Promise.all([slack.press('U0ALICE', message, APPROVE), slack.press('U0ALICE', message, APPROVE)])
    expect(desk.current.approval).toMatchObject({ state: 'pending', votes: [{ reviewer: { subject: 'alice' } }] })
    expect(readable(message.blocks)).toContain('Approved by Alice')
    expect(buttonsOf(message.blocks)).toEqual([APPROVE, DENY])
  })

  it('at once are both counted', async () => {
    const { slack, desk, card, result } = await start({ desk: deskNeeding(2) })
    const message = await card()
    await Promise.all([slack.press('U0ALICE', message, APPROVE), slack.press('U0BOB', message, APPROVE)])
    expect(desk.current.approval.state).toBe('approved')
    await result(message)
    expect(readable(message.blocks)).toMatch(/Approved by Alice.*Approved by Bob/s)
    expect(buttonsOf(message.blocks)).toEqual([])
  })

  it('leave no buttons behind when a decision falls while the card is being refreshed', async () => {
    const { slack, desk, card, result } = await start({ desk: deskNeeding(2) })
    const message = await card()
    slack.mishap('chat.update', { kind: 'slow', ms: 150 })
    const first = slack.press('U0ALICE', message, APPROVE)
    while (slack.countCalls('chat.update') === 0) await new Promise(setImmediate)
    await desk.vote({
      ...(desk.ballots[0] ?? expect.fail()),
      reviewer: { ...(desk.ballots[0] ?? expect.fail()).reviewer, subject: 'bob' },
    })
    await result(message)
    await first
    expect(buttonsOf(message.blocks)).toEqual([])
  })

  it('on a card that is decided are told so, each alone', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    const before = message.blocks
    await slack.press('U0ALICE', message, APPROVE)
    await slack.press('U0BOB', message, APPROVE, { blocks: before })
    await slack.press('U0BOB', message, DENY, { blocks: before })
    expect(desk.ballots).toHaveLength(1)
    expect(slack.state.ephemerals).toMatchObject([{ user: 'U0BOB', text: expect.stringContaining('already decided') }])
  })
})

describe('refused, told to that person alone', () => {
  const faults: [BallotFault, RegExp][] = [
    ['not_entitled', /does not name you as a reviewer/],
    ['self_approval', /on the requesting side/],
    ['superseded', /older card/],
    ['already_decided', /already decided/],
    ['not_found', /There is no approval/],
  ]
  it.each(faults)('%s', async (fault, expected) => {
    const { slack, desk, card } = await start()
    const message = await card()
    desk.answerNext(() => ({ counted: false, fault, approval: null }))
    await slack.press('U0ALICE', message, APPROVE)
    expect(slack.state.ephemerals).toMatchObject([{ user: 'U0ALICE', text: expect.stringMatching(expected) }])
    expect(message.updates).toBe(0)
  })

  it('a card that was superseded, before a ballot is cast', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    desk.current = { ...desk.current, approval: makeApproval({ cardHash: 'cb'.repeat(32) }) }
    await slack.press('U0ALICE', message, APPROVE)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('older card') }])
    expect(desk.ballots).toEqual([])
  })

  it('an approval nobody knows', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    desk.current = { ...desk.current, approval: makeApproval({ id: 'ANOTHER123' }) }
    await slack.press('U0ALICE', message, APPROVE)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('There is no approval') }])
  })

  it('an Approve that was never offered, because the card hides the payload', async () => {
    const { slack, desk, card } = await start({ detail: 'summary' })
    const message = await card()
    expect(buttonsOf(message.blocks)).toEqual([DENY])
    const alter = (payload: Record<string, unknown>) => {
      const [action] = payload['actions'] as Record<string, unknown>[]
      return { ...payload, actions: [{ ...action, action_id: APPROVE }] }
    }
    await slack.press('U0ALICE', message, DENY, { alter })
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('does not show all of the call') }])
    expect(desk.ballots).toEqual([])
  })

  it('an Approve where the rule asks for more than a chat account; its button opens the console, and is no vote', async () => {
    const needed = [
      { reviewers: ['group:finance'], quorum: 1, isReasonRequired: false, assurance: { kind: 'passkey' } as const },
    ]
    const { slack, desk, card } = await start({ desk: createFakeDesk(makeApproval(), makeCard({ needed })) })
    const message = await card()
    expect(await slack.press('U0ALICE', message, 'countersign.open')).toMatchObject({ status: 200, body: null })
    expect(slack.state.ephemerals).toEqual([])
    const alter = (payload: Record<string, unknown>) => {
      const [action] = payload['actions'] as Record<string, unknown>[]
      return { ...payload, actions: [{ ...action, action_id: APPROVE }] }
    }
    await slack.press('U0ALICE', message, DENY, { alter })
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('in the console') }])
    expect(desk.ballots).toEqual([])
  })

  const strangers: [string, Parameters<Rig['slack']['addUser']>[0], RegExp][] = [
    ['somebody who is not linked', { id: 'U0ERIN' }, /not linked.*T024FAKE\/U0ERIN/],
    ['a bot', { id: 'U0ALICE', is_bot: true }, /Bots/],
    ['a guest', { id: 'U0ALICE', is_restricted: true }, /Guests/],
    ['a single-channel guest', { id: 'U0ALICE', is_restricted: true, is_ultra_restricted: true }, /Guests/],
    ['a deactivated account', { id: 'U0ALICE', deleted: true }, /deactivated/],
    ['a member of another workspace', { id: 'U0ALICE', team_id: 'T0OTHER' }, /members of the workspace/],
    ['a stranger from a shared channel', { id: 'U0ALICE', is_stranger: true }, /members of the workspace/],
  ]
  it.each(strangers)('%s', async (_, user, expected) => {
    const { slack, desk, card } = await start()
    const message = await card()
    slack.addUser(user)
    await slack.press(user.id, message, APPROVE)
    await slack.press(user.id, message, DENY)
    expect(slack.state.ephemerals).toHaveLength(2)
    for (const { user: told, text } of slack.state.ephemerals) {
      expect(told).toBe(user.id)
      expect(text).toMatch(expected)
    }
    expect(desk.ballots).toEqual([])
    expect(slack.state.views).toEqual([])
  })

  it('a person of another workspace who submits a modal', async () => {
    const { slack, desk, card } = await start()
    await slack.press('U0ALICE', await card(), DENY)
    slack.addUser({ id: 'U0ALICE', team_id: 'T0OTHER' })
    const taken = await slack.submit('U0ALICE', 'no')
    expect(readable(taken.body)).toContain('members of the workspace')
    expect(desk.ballots).toEqual([])
  })

  it('a press whose payload names another workspace', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    for (const field of ['team', 'user'] as const) {
      const alter = (payload: Record<string, unknown>) =>
        field === 'team'
          ? { ...payload, team: { id: 'T0OTHER', domain: 'other' } }
          : { ...payload, user: { ...(payload['user'] as object), team_id: 'T0OTHER' } }
      await slack.press('U0ALICE', message, APPROVE, { alter })
    }
    expect(slack.state.ephemerals).toHaveLength(2)
    expect(desk.ballots).toEqual([])
  })

  const doubts: [string, (rig: Rig) => void][] = [
    ['does not answer', ({ slack }) => slack.mishap('users.info', { kind: 'down' })],
    ['says it does not know the account', ({ slack }) => void slack.state.users.delete('U0ALICE')],
    [
      'leaves out what the account is',
      ({ slack }) => {
        const { is_restricted, is_ultra_restricted, ...less } = slack.addUser({ id: 'U0ALICE' })
        slack.state.users.set('U0ALICE', less)
      },
    ],
    ['lacks the scope', ({ slack }) => void slack.state.scopes.delete('users:read')],
  ]
  it.each(doubts)('anybody while Slack %s', async (name, trouble) => {
    const started = await start()
    const { slack, desk, card } = started
    const message = await card()
    const press = async () => {
      if (!name.startsWith('says')) return slack.press('U0ALICE', message, APPROVE)
      const alter = (payload: Record<string, unknown>) => ({
        ...payload,
        user: { id: 'U0NOBODY', team_id: 'T024FAKE' },
      })
      return slack.press('U0BOB', message, APPROVE, { alter })
    }
    trouble(started)
    await press()
    expect(desk.ballots).toEqual([])
  })

  it('nobody for longer than Slack is in doubt: a failure to ask is not remembered', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    slack.mishap('users.info', { kind: 'status', status: 503 })
    await slack.press('U0ALICE', message, APPROVE)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('try again') }])
    await slack.press('U0ALICE', message, APPROVE)
    expect(desk.ballots).toHaveLength(1)
  })
})

describe('a fault of our own', () => {
  it('is told to the person, and nothing is taken for granted', async () => {
    const { slack, desk, card, log } = await start()
    const message = await card()
    desk.answerNext(() => Promise.reject(new Error('store is down')))
    const taken = await slack.press('U0ALICE', message, APPROVE)
    expect(taken.status).toBe(200)
    expect(slack.state.ephemerals).toMatchObject([{ text: expect.stringContaining('not certain') }])
    expect(log()).toContain('store is down')
  })

  it('in telling goes by the address Slack gave for it', async () => {
    const { slack, desk, card } = await start()
    const message = await card()
    slack.state.channels.get('C024FAKE')?.members.delete('U0ALICE')
    desk.answerNext(() => ({ counted: false, fault: 'not_entitled', approval: null }))
    await slack.press('U0ALICE', message, APPROVE)
    expect(slack.state.ephemerals).toMatchObject([{ via: 'response_url', user: 'U0ALICE' }])
  })

  it('never sends an answer to an address that is not Slack’s', async () => {
    const { slack, desk, card, logged } = await start()
    const message = await card()
    slack.state.channels.get('C024FAKE')?.members.delete('U0ALICE')
    desk.answerNext(() => ({ counted: false, fault: 'not_entitled', approval: null }))
    const alter = (payload: Record<string, unknown>) => ({ ...payload, response_url: 'http://127.0.0.1:1/steal' })
    await slack.press('U0ALICE', message, APPROVE, { alter })
    await logged('could not be told')
    expect(slack.state.ephemerals).toEqual([])
  })
})

describe('a payload of another form is ignored', () => {
  const forms: [string, (payload: Record<string, unknown>) => Record<string, unknown>][] = [
    [
      'a button value that is none of ours',
      (payload) => ({ ...payload, actions: [{ action_id: APPROVE, value: 'x:y' }] }),
    ],
    [
      'two actions at once',
      (payload) => ({ ...payload, actions: [...(payload['actions'] as []), ...(payload['actions'] as [])] }),
    ],
    [
      'an action of another name',
      (payload) => ({
        ...payload,
        actions: [{ action_id: 'countersign.override', value: `7Q3FX2K9AB:${'ca'.repeat(32)}` }],
      }),
    ],
    ['no trigger', ({ trigger_id: _, ...payload }) => payload],
    ['a user that is no id', (payload) => ({ ...payload, user: { id: '../U0ALICE' } })],
  ]
  it.each(forms)('%s', async (_, alter) => {
    const { slack, desk, card } = await start()
    const taken = await slack.press('U0ALICE', await card(), APPROVE, { alter })
    expect(taken.status).toBe(200)
    expect(desk.ballots).toEqual([])
    expect(slack.state.ephemerals).toEqual([])
  })
})
