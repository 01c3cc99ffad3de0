import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import { APPROVAL_COLUMNS, type ApprovalRow, signApproval } from '../../src/approvals/row.ts'
import { createSweeper } from '../../src/approvals/sweeper.ts'
import type { Approval, Decision, State } from '../../src/domain/approval.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { agent, ballot, makeCall, person, requirement, type TestCall, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const TWO = verdict([requirement({ quorum: 2 })])
const REFUSED: Record<State, string> = {
  pending: 'approval_pending',
  approved: 'approval_pending',
  denied: 'not_approved',
  expired: 'expired',
  withdrawn: 'withdrawn',
  spent: 'already_spent',
}

type Step =
  | { readonly kind: 'vote'; readonly who: 'rita' | 'rolf' | 'olga' | 'sam'; readonly decision: Decision }
  | { readonly kind: 'spend' | 'withdraw' | 'sweep' | 'overdue' }

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('vote' as const),
      who: fc.constantFrom('rita', 'rolf', 'olga', 'sam'),
      decision: fc.constantFrom('approve' as const, 'approve' as const, 'approve' as const, 'deny' as const),
    }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'spend' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('withdraw' as const, 'sweep' as const, 'overdue' as const) }),
  },
)

/** What an approval is, in the simplest terms. */
interface Model {
  state: State
  isOverdue: boolean
  moves: number
  readonly votes: Map<string, Decision>
}

describe('an approval, whatever happens to it', () => {
  let world: World
  let queue: Queue
  beforeAll(async () => {
    world = await openWorld()
    queue = world.openReplica().queue
  })
  afterAll(() => world.close())

  it('does what the simplest model does', { timeout: 120_000 }, async () => {
    let run = 0
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 14 }), async (sequence) => {
        run += 1
        const call = makeCall({ principal: agent(`model-${run}`) })
        const approval = await hold(queue, call, TWO)
        const model: Model = { state: 'pending', isOverdue: false, moves: 0, votes: new Map() }
        for (const step of sequence) {
          expect(await perform(step, approval, { call, model })).toBe(predict(step, model))
          expect(await world.stateOf(approval.id)).toBe(model.state)
        }
        const kinds = (await world.entriesOf(approval.id)).map((entry) => entry.kind)
        expect(kinds.filter((kind) => kind === 'decided' || kind === 'spent')).toHaveLength(model.moves)
        expect(kinds.filter((kind) => kind === 'spent')).toHaveLength(model.state === 'spent' ? 1 : 0)
      }),
      { numRuns: 40 },
    )
  })

  async function perform(step: Step, approval: Approval, { call, model }: { call: TestCall; model: Model }) {
    switch (step.kind) {
      case 'vote': {
        const reviewer = step.who === 'sam' ? person('sam', []) : person(step.who)
        const result = await queue.vote(ballot(approval, reviewer, { decision: step.decision }))
        return result.counted ? 'counted' : result.fault
      }
      case 'spend': {
        const result = await queue.spend(approval, call, { verdict: TWO, digest: call.sealed.digest })
        return isRefusal(result) ? result.code : result.state
      }
      case 'withdraw': {
        const refusal = { refused: true, code: 'denied', detail: '' } as const
        return (await queue.withdraw(approval, { effect: 'deny', verdict: null, actions: null, refusal })).code
      }
      case 'sweep':
        await sweep()
        return null
      case 'overdue':
        await makeOverdue(approval, model)
        return null
    }
  }

  async function sweep(): Promise<void> {
    await createSweeper(world.makeGround(), {
      replicaId: 'model',
      clock: systemClock,
      oldestCallId: () => null,
      keepMs: 3_600_000,
    }).sweep()
  }

  /** As if an hour had passed; the record has to stay genuine, so it is signed again. */
  async function makeOverdue({ id }: Approval, { state, votes }: Model): Promise<void> {
    if (state === 'approved') {
      await world.alter(`UPDATE countersign.approval SET use_by = now() WHERE id = '${id}'`)
    } else if (state === 'pending' && votes.size === 0) {
      const { rows } = await world.store.database.query<ApprovalRow>(
        `SELECT ${APPROVAL_COLUMNS} FROM approval WHERE id = $1`,
        [id],
      )
      const [row] = rows
      if (!row) throw new Error('it is there')
      const earlier = (date: Date) => new Date(date.getTime() - 3_600_000)
      const facts = { ...row, created_at: earlier(row.created_at), expires_at: earlier(row.expires_at) }
      const { mac } = signApproval(world.keys.mac, facts)
      await world.alter(
        `UPDATE countersign.approval SET created_at = '${facts.created_at.toISOString()}',
           expires_at = '${facts.expires_at.toISOString()}', mac = '\\x${mac.toString('hex')}' WHERE id = '${id}'`,
      )
    }
  }
})

/** Changes the model as the step should change the approval; returns what whoever takes it should be told. */
function predict(step: Step, model: Model): string | null {
  const isOpen = model.state === 'pending' || model.state === 'approved'
  switch (step.kind) {
    case 'vote':
      return predictVote(step, model)
    case 'spend': {
      if (model.state !== 'approved') return REFUSED[model.state]
      const next = model.isOverdue ? 'expired' : 'spent'
      moveTo(model, next)
      return next
    }
    case 'withdraw':
      if (isOpen) moveTo(model, 'withdrawn')
      return REFUSED[model.state]
    case 'sweep':
      if (isOpen && model.isOverdue) moveTo(model, 'expired')
      return null
    case 'overdue':
      if (model.state === 'approved' || (model.state === 'pending' && model.votes.size === 0)) model.isOverdue = true
      return null
  }
}

function predictVote({ who, decision }: Step & { kind: 'vote' }, model: Model): string {
  if (who === 'olga' && decision === 'approve') return 'self_approval'
  if (who === 'sam') return 'not_entitled'
  if (model.votes.get(who) === decision) return 'counted'
  if (model.isOverdue && (model.state === 'pending' || model.state === 'approved')) {
    moveTo(model, 'expired')
    return 'already_decided'
  }
  const mayVote = model.state === 'pending' || (model.state === 'approved' && decision === 'deny')
  if (!mayVote) return 'already_decided'
  model.votes.set(who, decision)
  if (decision === 'deny') moveTo(model, 'denied')
  else if ([...model.votes.values()].filter((vote) => vote === 'approve').length === 2) moveTo(model, 'approved')
  return 'counted'
}

function moveTo(model: Model, state: State): void {
  model.state = state
  model.isOverdue = false
  model.moves += 1
}
