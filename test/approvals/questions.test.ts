import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Approval } from '../../src/domain/approval.ts'
import type { Delivery, RunningChannel } from '../../src/domain/channel.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import {
  agent,
  ballot,
  codeOf,
  granted,
  judged,
  makeCall,
  party,
  person,
  requirement,
  selector,
  verdict,
} from './parts.ts'
import { hold, openWorld, type Replica, type World } from './world.ts'

const FINN = person('finn')
const FAY = person('fay')
/** Long enough to be told from being answered at once. */
const WAIT_MS = 300
const NEVER = new AbortController().signal

let world: World
let one: Replica
let two: Replica
let next = 0
beforeAll(async () => {
  world = await openWorld()
  one = world.openReplica({ options: { open_per_principal: 100 } })
  two = world.openReplica()
  await Promise.all([one.start(), two.start()])
})
afterAll(() => world?.close())

/** A call of its own, and its approval. */
async function held(more: Parameters<typeof makeCall>[0] = {}, of = verdict()) {
  const what = `question ${next++}`
  const attempt = (again: Parameters<typeof makeCall>[0] = {}) => makeCall({ what, waitMs: 30_000, ...more, ...again })
  const call = attempt()
  return { call, attempt, approval: await hold(one.queue, call, of) }
}

const ask = (approval: Approval, text = 'Which order?', by = FINN, queue = one.queue) =>
  queue.ask({ approval: approval.id, by, text, via: 'api' })

async function asked(approval: Approval, text = 'Which order?', by = FINN): Promise<string> {
  const result = await ask(approval, text, by)
  if (!result.asked) throw new Error(result.fault)
  return result.question.id
}

/** The agent's next attempt carries a reply. */
async function reply(again: Awaited<ReturnType<typeof held>>, question: string, text = 'Order 7.') {
  const attempt = again.attempt({ reply: { question, text } })
  return granted(await one.queue.hold(attempt, judged(), attempt.sealed))
}

/** Until every wait that began before has looked: a replica looks at all that is waited for in turn. */
async function looked({ queue }: Replica): Promise<void> {
  const { approval, attempt } = await held()
  await one.queue.vote(ballot(approval, FINN, { decision: 'deny' }))
  expect(codeOf(await queue.settle(approval, attempt()))).toBe('not_approved')
}

const shownTo = async (approval: Approval, reader = FINN) =>
  (await one.queue.findFor(reader, approval.id))?.questions ?? expect.fail('not shown')

describe('a question', () => {
  it('answers every attempt that waits, on every replica, at once, and says how to reply', async () => {
    const { call, attempt, approval } = await held()
    const other = attempt()
    const waits = [one.queue.settle(approval, call), two.queue.settle(approval, other)]
    // To a wait that begins later it would be an old one.
    await Promise.all([one, two].map(looked))
    const id = await asked(approval, 'Which order?\u0007 ', { ...FINN, name: 'Finn F.' })
    for (const answer of await Promise.all(waits)) {
      expect(answer).toMatchObject({
        code: 'approval_pending',
        approval: approval.id,
        retryAfterS: 10,
        question: { id, text: 'Which order?', by: 'Finn F.', at: expect.stringMatching(/Z$/) },
        detail: expect.stringMatching(
          new RegExp(
            `^Not executed\\. Waiting for approval ${approval.id}\\. Repeat the call unchanged\\. .*Countersign-Reply: ${id} `,
          ),
        ),
      })
    }
  })

  it('that was told lets a client that only repeats its call wait', async () => {
    const { call, attempt, approval } = await held()
    const first = one.queue.settle(approval, call)
    const id = await asked(approval)
    expect(codeOf(await first)).toBe('approval_pending')
    for (const queue of [one.queue, two.queue]) {
      const begun = performance.now()
      const waited = await queue.settle(approval, attempt({ waitMs: WAIT_MS }))
      expect(performance.now() - begun).toBeGreaterThanOrEqual(WAIT_MS - 1)
      // At the end of its wait it is told again: it may have been lost.
      expect(waited).toMatchObject({ code: 'approval_pending', question: { id } })
    }
  })

  it('is told to the first attempt that comes, if none waits', async () => {
    const { attempt, approval } = await held()
    const id = await asked(approval)
    expect(await one.queue.settle(approval, attempt())).toMatchObject({ question: { id } })
  })

  it('is told to a client that never waits, each time', async () => {
    const { attempt, approval } = await held()
    const id = await asked(approval)
    for (let n = 0; n < 2; n++) {
      expect(await one.queue.settle(approval, attempt({ waitMs: 0 }))).toMatchObject({ question: { id } })
    }
  })

  it('does not keep a decision from whoever waits', async () => {
    const { call, attempt, approval } = await held()
    await asked(approval)
    await one.queue.settle(approval, call)
    const again = one.queue.settle(approval, attempt())
    await two.queue.vote(ballot(approval, FAY))
    expect(await again).toMatchObject({ state: 'approved' })
  })

  it('is shown to its agent that asks how the call stands, and to nobody else’s', async () => {
    const { call, approval } = await held({ isDetached: true })
    const patience = { waitMs: 30_000, gone: NEVER }
    const polled = one.queue.ownCall(call.principal, call.id, patience)
    const id = await asked(approval)
    expect(await polled).toMatchObject({ question: { id, text: 'Which order?', by: 'finn' } })
    expect(await two.queue.ownCall(call.principal, approval.id, null)).toMatchObject({ question: { id } })
    expect(await one.queue.ownCall(agent('agent-8'), approval.id, null)).toBeNull()
    // Told: the next poll waits.
    const begun = performance.now()
    const later = await one.queue.ownCall(call.principal, call.id, { waitMs: WAIT_MS, gone: NEVER })
    expect(performance.now() - begun).toBeGreaterThanOrEqual(WAIT_MS - 1)
    expect(later).toMatchObject({ question: { id } })
  })

  it('leaves the deadline as it is', async () => {
    const { approval } = await held()
    await asked(approval)
    expect((await one.queue.findFor(FINN, approval.id))?.approval.expiresAt).toBe(approval.expiresAt)
  })

  it('is asked one at a time, and five times', async () => {
    const again = await held()
    for (let nth = 0; nth < 5; nth++) {
      const id = await asked(again.approval, `Question ${nth}?`)
      expect(await ask(again.approval, 'And?', FAY)).toEqual({ asked: false, fault: 'question_open' })
      await reply(again, id, `Reply ${nth}`)
    }
    expect(await ask(again.approval)).toEqual({ asked: false, fault: 'too_many_questions' })
    expect((await shownTo(again.approval)).map(({ text, reply: said }) => [text, said?.text])).toEqual(
      Array.from({ length: 5 }, (_, nth) => [`Question ${nth}?`, `Reply ${nth}`]),
    )
  })

  it('of several asked at one moment is one', async () => {
    const { approval } = await held()
    const all = await Promise.all(
      Array.from({ length: 8 }, (_, n) => ask(approval, `Question ${n}?`, FINN, n % 2 ? one.queue : two.queue)),
    )
    expect(all.filter((result) => result.asked)).toHaveLength(1)
  })

  it.each([
    ['not_found', person('stranger', []), {}],
    ['not_entitled', { ...person('aud', []), roles: ['auditor'] as const }, {}],
    ['self_approval', person('olga'), {}],
    ['self_approval', person('ann'), { onBehalfOf: party('ann') }],
    ['nothing_asked', FINN, {}, ' \n\u0000'],
  ] as const)('is refused: %s', async (fault, by, requester, given?: string) => {
    const text = given ?? 'Why?'
    const { approval } = await held({ principal: agent('agent-7', requester) })
    expect(await ask(approval, text, by)).toEqual({ asked: false, fault })
    expect(await shownTo(approval)).toEqual([])
  })

  it('is not asked about what is not there, or over', async () => {
    const { approval } = await held()
    expect(await ask({ ...approval, id: '0000000000' })).toEqual({ asked: false, fault: 'not_found' })
    await one.queue.vote(ballot(approval, FINN, { decision: 'deny' }))
    expect(await ask(approval)).toEqual({ asked: false, fault: 'already_decided' })
  })

  it('may be asked by whoever may override', async () => {
    const override = [selector(`${party('boss').issuer}|boss`)]
    const { approval } = await held({}, verdict([{ ...requirement(), override }]))
    expect(await ask(approval, 'Why now?', person('boss', []))).toMatchObject({ asked: true })
  })

  it('is cut to what is kept', async () => {
    const { approval } = await held()
    await asked(approval, '😀'.repeat(3000))
    expect((await shownTo(approval))[0]?.text).toBe('😀'.repeat(1000))
  })
})

describe('a reply', () => {
  it('is kept once, for the question that is open, and is shown in its order', async () => {
    const again = await held()
    const first = await asked(again.approval)
    expect((await reply(again, first, ' Order\u0000 7. ')).id).toBe(again.approval.id)
    await reply(again, first, 'No: order 8.')
    const second = await asked(again.approval, 'Whose?')
    // A client repeats its headers: what was said to one question is not said to the next.
    await reply(again, first, 'Order 7.')
    await reply(again, '0000000000', 'Anything.')
    expect(await shownTo(again.approval)).toMatchObject([
      { id: first, text: 'Which order?', by: { subject: 'finn' }, reply: { text: 'Order 7.', at: expect.any(Number) } },
      { id: second, text: 'Whose?', reply: null },
    ])
  })

  it('without a question is let go of', async () => {
    const again = await held()
    await reply(again, '0000000000')
    expect(await shownTo(again.approval)).toEqual([])
  })

  it('by another agent, or to a question about another call, is no reply', async () => {
    const again = await held()
    const other = await held()
    const id = await asked(again.approval)
    await reply(other, id)
    const stranger = makeCall({ what: 'stranger', principal: agent('agent-9'), reply: { question: id, text: 'Mine.' } })
    await hold(one.queue, stranger)
    expect(await shownTo(again.approval)).toMatchObject([{ id, reply: null }])
  })

  it('takes the question from what the agent is told', async () => {
    const again = await held()
    await reply(again, await asked(again.approval))
    const later = await one.queue.settle(again.approval, again.attempt({ waitMs: 0 }))
    expect(later).toMatchObject({ code: 'approval_pending' })
    expect(later).not.toHaveProperty('question')
  })
})

describe('a yes', () => {
  it('counts on the replies that its person was shown, and a no in any case', async () => {
    const again = await held({}, verdict([requirement({ quorum: 3 })]))
    const { approval } = again
    await reply(again, await asked(approval))
    const stale = await one.queue.vote(ballot(approval, FINN))
    expect(stale).toMatchObject({ counted: false, fault: 'superseded' })
    expect(await one.queue.vote(ballot(approval, FINN, { replies: 2 }))).toMatchObject({ fault: 'superseded' })
    expect(await one.queue.vote(ballot(approval, FINN, { replies: 1 }))).toMatchObject({ counted: true })
    // An open question changes nothing of what was shown.
    await asked(approval, 'And?', FAY)
    expect(await one.queue.vote(ballot(approval, FAY, { replies: 1 }))).toMatchObject({ counted: true })
    expect(await one.queue.vote(ballot(approval, person('fred'), { decision: 'deny' }))).toMatchObject({
      counted: true,
    })
    const votes = (await world.entriesOf(approval.id)).filter(({ kind }) => kind === 'vote')
    expect(votes.map(({ body }) => (body['detail'] as { replies?: number }).replies)).toEqual([1, 1, undefined])
  })

  it('in place of the reviewers is no exception', async () => {
    const override = [selector(`${party('boss').issuer}|boss`)]
    const again = await held({}, verdict([{ ...requirement(), override }]))
    await reply(again, await asked(again.approval))
    const boss = { ...person('boss', []), authenticatedAt: Math.floor(Date.now() / 1000) }
    const yes = { isOverride: true, reason: 'Now.' }
    expect(await one.queue.vote(ballot(again.approval, boss, yes))).toMatchObject({ fault: 'superseded' })
    expect(await one.queue.vote(ballot(again.approval, boss, { ...yes, replies: 1 }))).toMatchObject({ counted: true })
  })

  it('cannot be put off by an agent that replies again and again', async () => {
    const again = await held()
    const id = await asked(again.approval)
    for (let n = 0; n < 5; n++) await reply(again, id, `Version ${n}`)
    expect(await one.queue.vote(ballot(again.approval, FINN, { replies: 1 }))).toMatchObject({ counted: true })
    expect((await shownTo(again.approval)).map(({ reply: said }) => said?.text)).toEqual(['Version 0'])
  })
})

describe('the record', () => {
  it('has both in the log, by whom and with which call, and their words where they can be erased', async () => {
    const again = await held()
    const id = await asked(again.approval, 'Which secret order?')
    await reply(again, id, 'The secret one.')
    const entries = (await world.entriesOf(again.approval.id)).filter(({ kind }) => kind.startsWith('question'))
    expect(entries.map(({ kind, body }) => [kind, body['detail']])).toEqual([
      ['question_asked', expect.objectContaining({ question: id, nth: 1, via: 'api' })],
      ['question_answered', expect.objectContaining({ question: id, nth: 1 })],
    ])
    expect(entries[0]?.body).toHaveProperty('reviewer')
    expect(entries[1]?.body['call_id']).not.toBe(again.call.id)
    expect(JSON.stringify(entries)).not.toContain('secret')
    const { rows } = await world.store.database.query<{ field: string; value: string }>(
      `SELECT field, value FROM audit_personal WHERE value LIKE '%secret%' ORDER BY field`,
    )
    expect(rows).toEqual([
      { field: 'claimed.reply', value: 'The secret one.' },
      { field: 'reason', value: 'Which secret order?' },
    ])
  })

  it('is not believed where somebody else wrote it, moved it, or where its key was erased', async () => {
    const again = await held()
    const other = await held()
    const [mine, theirs] = [await asked(again.approval, 'Mine?'), await asked(other.approval, 'Theirs?')]
    const rewrite = (id: string, from: string) =>
      world.asSuperuser(
        'ALTER TABLE countersign.question DISABLE TRIGGER guard',
        `UPDATE countersign.question q SET sealed_question = o.sealed_question FROM countersign.question o
         WHERE q.id = '${id}' AND o.id = '${from}'`,
        'ALTER TABLE countersign.question ENABLE ALWAYS TRIGGER guard',
      )
    await rewrite(mine, theirs)
    expect(await shownTo(again.approval)).toEqual([])
    expect(await one.queue.settle(again.approval, again.attempt({ waitMs: 0 }))).not.toHaveProperty('question')
    await one.queue.vote(ballot(other.approval, FINN, { decision: 'deny' }))
    await world.store.database.query('UPDATE approval SET wrapped_key = NULL WHERE id = $1', [other.approval.id])
    expect(await shownTo(other.approval)).toEqual([])
  })

  it('is never changed or removed by the gateway’s own role', async () => {
    const again = await held()
    const id = await asked(again.approval)
    await reply(again, id)
    for (const statement of [
      `DELETE FROM question WHERE id = '${id}'`,
      `UPDATE question SET sealed_question = 'x' WHERE id = '${id}'`,
      `UPDATE question SET replied_at = NULL, sealed_reply = NULL WHERE id = '${id}'`,
      `UPDATE question SET told_at = now() - interval '1 day', sealed_reply = 'x' WHERE id = '${id}'`,
    ]) {
      await expect(one.database.query(statement), statement).rejects.toThrow()
    }
  })
})

describe('channels', () => {
  it('are told of the question and of the reply, after the card, while it waits', async () => {
    const told: Delivery[] = []
    const heard: (() => void)[] = []
    const channel: RunningChannel = {
      name: 'chat',
      async deliver(delivery) {
        told.push(delivery)
        for (const hear of heard) hear()
        return { result: 'delivered', posted: { ts: '1' }, conversation: { ts: '1' } }
      },
      tell: async () => ({ result: 'delivered' }),
      stop: async () => {},
    }
    const replica = world.openReplica({ channels: ['chat'], options: { open_per_principal: 100 } })
    await replica.start({ channels: [channel] })
    const until = (isThere: () => boolean) =>
      new Promise<void>((resolve) => {
        const look = () => isThere() && resolve()
        heard.push(look)
        look()
      })
    const call = makeCall({ what: 'told in a channel' })
    const approval = await hold(replica.queue, call)
    const id = await asked(approval)
    await until(() => told.some(({ kind }) => kind === 'question'))
    const attempt = makeCall({ what: 'told in a channel', reply: { question: id, text: 'Order 7.' } })
    await hold(replica.queue, attempt)
    await until(() => told.some(({ questions = [] }) => questions.some((each) => each.reply?.text === 'Order 7.')))
    expect(told[0]?.kind).toBe('card')
    expect(told.slice(1).every(({ kind }) => kind === 'question')).toBe(true)
  })
})

describe('a store of the release before', () => {
  it('serves on, and takes no question', async () => {
    const older = await openWorld({ schema: 10 })
    try {
      const { queue, start } = older.openReplica()
      await start()
      const call = makeCall({ what: 'older', reply: { question: '0000000000', text: 'x' } })
      const approval = await hold(queue, call)
      await hold(queue, makeCall({ what: 'older', reply: { question: '0000000000', text: 'x' } }))
      expect(isRefusal(await queue.settle(approval, makeCall({ what: 'older', waitMs: 10 })))).toBe(true)
      await expect(queue.ask({ approval: approval.id, by: FINN, text: 'Why?', via: 'api' })).rejects.toThrow('schema')
      expect(await queue.vote(ballot(approval, FINN))).toMatchObject({ counted: true })
      expect(await queue.ownCall(call.principal, approval.id, null)).toMatchObject({ question: null })
    } finally {
      await older.close()
    }
  })
})
