import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import { APPROVAL_COLUMNS, type ApprovalRow, signApproval } from '../../src/approvals/row.ts'
import { createSweeper } from '../../src/approvals/sweeper.ts'
import { readVotes, signVote } from '../../src/approvals/votes.ts'
import type { Decision, State } from '../../src/domain/approval.ts'
import type { Hours } from '../../src/domain/hours.ts'
import type { Person } from '../../src/domain/principal.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { agent, ballot, makeCall, person, requirement, selector, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

/*
 * Minutes. Time passes in whole ones, so that nothing ever happens at the very moment at which something is due: the
 * test itself takes a while, too.
 */
const EXPIRES = 30.5
const USE_WITHIN = 15.5
/** By this process's own clock nothing is used later than this after its last vote; the store's may lag by a minute. */
const LATE = USE_WITHIN + 1
const REMIND = 4.5
const ESCALATE = 9.5
const MINUTE_MS = 60_000

const GROUPS = {
  rita: ['finance'],
  rolf: ['finance'],
  cora: ['finance', 'contractors'],
  sara: ['security'],
  fred: ['finance', 'security'],
  mona: ['managers'],
  sam: ['sales'],
  /** The owner of the agent. */
  olga: ['finance', 'security'],
} as const satisfies Record<string, readonly string[]>
type Name = keyof typeof GROUPS
const NAMES = Object.keys(GROUPS) as readonly Name[]

interface Asked {
  readonly group: 'finance' | 'security'
  readonly quorum: number
  readonly denyQuorum: number
  readonly excludesContractors: boolean
  readonly escalates: boolean
  readonly isOpen: boolean
}

const asked: fc.Arbitrary<Asked> = fc.record({
  group: fc.constantFrom('finance', 'finance', 'security'),
  quorum: fc.constantFrom(1, 1, 2),
  denyQuorum: fc.constantFrom(1, 2),
  excludesContractors: fc.boolean(),
  escalates: fc.boolean(),
  isOpen: fc.constantFrom(true, true, true, true, true, false),
})

type Step =
  | { readonly kind: 'vote'; readonly who: Name; readonly decision: Decision }
  | { readonly kind: 'pass'; readonly minutes: number }
  | { readonly kind: 'contract'; readonly who: Name }
  | { readonly kind: 'spend' | 'sweep' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('vote' as const),
      who: fc.constantFrom(...NAMES, 'rita', 'rita'),
      decision: fc.constantFrom<Decision>('approve', 'approve', 'approve', 'deny'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), minutes: fc.constantFrom(4, 11, 21) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('contract' as const), who: fc.constantFrom('rita', 'fred', 'mona') }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('spend' as const, 'sweep' as const) }) },
)

const yes = (who: Name): Step => ({ kind: 'vote', who, decision: 'approve' })

/** Often something approved first: what happens to it then is half of the story. */
const steps: fc.Arbitrary<readonly Step[]> = fc
  .tuple(
    fc.constantFrom<readonly Step[]>(
      [],
      [yes('rita')],
      [yes('rita'), yes('fred')],
      [yes('rita'), { kind: 'contract', who: 'rita' }],
      [yes('rita'), { kind: 'contract', who: 'rita' }, { kind: 'spend' }],
      [yes('fred'), { kind: 'contract', who: 'fred' }, { kind: 'spend' }],
      [{ kind: 'pass', minutes: 11 }, yes('mona')],
    ),
    fc.array(step, { maxLength: 14 }),
  )
  .map(([first, more]) => [...first, ...more])

interface ModelVote {
  readonly who: Name
  readonly decision: Decision
  readonly at: number
}

/** What an approval is, in the simplest terms. */
interface Model {
  readonly requirements: readonly Asked[]
  state: State
  now: number
  approvedAt: number
  moves: number
  nudges: number
  nudgedUntil: number
  votes: readonly ModelVote[]
  /** Who became a contractor after they voted, or before. */
  readonly contractors: Set<Name>
}

describe('an approval of several requirements, whatever happens to it', () => {
  let world: World
  let queue: Queue
  const contractors = new Set<string>()
  beforeAll(async () => {
    world = await openWorld()
    const standing = async (voter: Person) => withGroups(voter, contractors.has(voter.subject))
    const options = { expires: EXPIRES * MINUTE_MS, use_within: USE_WITHIN * MINUTE_MS }
    queue = world.openReplica({ options, standing }).queue
  })
  afterAll(() => world.close())

  it('does what the simplest model does', { timeout: 120_000 }, async () => {
    let run = 0
    const reached = new Map<State, number>()
    await fc.assert(
      fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 2 }), steps, async (requirements, sequence) => {
        run += 1
        contractors.clear()
        const call = makeCall({ principal: agent(`terms-model-${run}`) })
        const of = verdict(requirements.map(toRequirement))
        const approval = await hold(queue, call, of)
        const model = open(requirements)
        for (const next of sequence) {
          expect(await perform(next)).toBe(predict(next, model))
          expect(await world.stateOf(approval.id)).toBe(model.state)
        }
        const kinds = (await world.entriesOf(approval.id)).map((entry) => entry.kind)
        expect(kinds.filter((kind) => kind === 'decided' || kind === 'spent')).toHaveLength(model.moves)
        expect(kinds.filter((kind) => kind === 'reminded' || kind === 'escalated')).toHaveLength(model.nudges)
        reached.set(model.state, (reached.get(model.state) ?? 0) + 1)

        async function perform(next: Step): Promise<string | null> {
          switch (next.kind) {
            case 'vote': {
              const reviewer = withGroups(personOf(next.who), contractors.has(next.who))
              const result = await queue.vote(ballot(approval, reviewer, { decision: next.decision }))
              return result.counted ? 'counted' : result.fault
            }
            case 'pass':
              await shift(approval.id, next.minutes)
              return null
            case 'contract':
              contractors.add(next.who)
              return null
            case 'spend': {
              const result = await queue.spend(approval, call, { verdict: of, digest: call.sealed.digest })
              return isRefusal(result) ? result.code : result.state
            }
            case 'sweep':
              await sweep()
              return null
          }
        }
      }),
      { numRuns: 200 },
    )
    // Sequences that never get anywhere would show nothing.
    for (const state of ['pending', 'denied', 'expired', 'withdrawn', 'spent'] as const)
      expect(reached.get(state)).toBeGreaterThan(0)
  })

  async function sweep(): Promise<void> {
    await createSweeper(world.makeGround(), {
      replicaId: 'terms-model',
      clock: systemClock,
      oldestCallId: () => null,
      keepMs: 36_000_000,
    }).sweep()
  }

  /** As if time had passed: everything that happened, happened earlier. The records stay genuine, so are signed again. */
  async function shift(id: string, minutes: number): Promise<void> {
    const { database } = world.store
    const { rows } = await database.query<ApprovalRow>(`SELECT ${APPROVAL_COLUMNS} FROM approval WHERE id = $1`, [id])
    const [row] = rows
    if (!row) throw new Error('it is there')
    const earlier = (date: Date) => new Date(date.getTime() - minutes * MINUTE_MS)
    const facts = { ...row, created_at: earlier(row.created_at), expires_at: earlier(row.expires_at) }
    const by = `interval '${minutes} minutes'`
    const votes = ((await readVotes(database, [id])).get(id) ?? []).map((vote) => {
      const at = earlier(vote.at)
      const { mac } = signVote(world.keys.mac, row, { ...vote, at })
      return `UPDATE countersign.vote SET at = '${at.toISOString()}', mac = '\\x${mac.toString('hex')}'
        WHERE approval = '${id}' AND subject = '${vote.subject}'`
    })
    await world.alter(
      [
        `UPDATE countersign.approval SET created_at = created_at - ${by}, expires_at = expires_at - ${by},
           use_by = use_by - ${by}, decided_at = decided_at - ${by}, remind_at = remind_at - ${by},
           spent_at = spent_at - ${by}, mac = '\\x${signApproval(world.keys.mac, facts).mac.toString('hex')}'
         WHERE id = '${id}'`,
        ...votes,
      ].join('; '),
    )
  }
})

function toRequirement({ group, quorum, denyQuorum, excludesContractors, escalates, isOpen }: Asked): Requirement {
  return requirement({
    reviewers: [`group:${group}`],
    quorum,
    remindMs: [REMIND * MINUTE_MS],
    ...(denyQuorum > 1 && { denyQuorum }),
    ...(excludesContractors && { exclude: [selector('group:contractors')] }),
    ...(escalates && { escalate: { afterMs: ESCALATE * MINUTE_MS, to: [selector('group:managers')] } }),
    ...(!isOpen && { hours: farFromNow() }),
  })
}

/** A day that is neither today nor next to it. */
function farFromNow(): Hours {
  return { days: [((new Date().getUTCDay() + 2) % 7) + 1], from: 0, to: 1440, zone: 'UTC' }
}

function personOf(name: Name): Person {
  return person(
    name,
    GROUPS[name].map((group) => ({ issuerName: 'corp', name: group })),
  )
}

function withGroups(who: Person, isContractor: boolean): Person {
  return isContractor ? { ...who, groups: [...who.groups, { issuerName: 'corp', name: 'contractors' }] } : who
}

function open(requirements: readonly Asked[]): Model {
  return {
    requirements,
    state: 'pending',
    now: 0,
    approvedAt: 0,
    moves: 0,
    nudges: 0,
    nudgedUntil: 0,
    votes: [],
    contractors: new Set(),
  }
}

const REFUSED: Record<State, string> = {
  pending: 'approval_pending',
  approved: 'approval_pending',
  denied: 'not_approved',
  expired: 'expired',
  withdrawn: 'withdrawn',
  spent: 'already_spent',
}

/** Changes the model as the step should change the approval; returns what whoever takes it should be told. */
function predict(next: Step, model: Model): string | null {
  switch (next.kind) {
    case 'vote':
      return predictVote(next, model)
    case 'pass':
      model.now += next.minutes
      return null
    case 'contract':
      model.contractors.add(next.who)
      return null
    case 'spend':
      return predictSpend(model)
    case 'sweep':
      if (isOverdue(model)) moveTo(model, 'expired')
      else if (model.state === 'pending') nudge(model)
      return null
  }
}

function predictVote({ who, decision }: Step & { kind: 'vote' }, model: Model): string {
  const isContractor = model.contractors.has(who)
  const entitling = model.requirements.filter((one) => names(one, { who, at: model.now, isContractor }))
  if (who === 'olga' && decision === 'approve') return 'self_approval'
  if (who !== 'olga' && entitling.length === 0) return 'not_entitled'
  if (decision === 'approve' && entitling.every((one) => !one.isOpen)) return 'outside_hours'
  const before = model.votes.find((vote) => vote.who === who)
  if (before?.decision === decision) return 'counted'
  if (isOverdue(model)) {
    moveTo(model, 'expired')
    return 'already_decided'
  }
  if (model.state !== 'pending' && !(model.state === 'approved' && decision === 'deny')) return 'already_decided'
  if (before?.decision === 'deny') return 'already_denied'
  const signed = { who, decision, at: model.now }
  signedAs.set(signed, isContractor)
  model.votes = [...model.votes.filter((vote) => vote.who !== who), signed]
  const isMet = canDeal(model, wasContractor)
  if (decision === 'deny') {
    if (who === 'olga' || isDenied(model) || (model.state === 'approved' && !isMet)) moveTo(model, 'denied')
  } else if (isMet) {
    moveTo(model, 'approved')
    model.approvedAt = model.now
  }
  return 'counted'
}

/** What a person was when they voted is part of their vote. */
const signedAs = new WeakMap<ModelVote, boolean>()
const wasContractor = (vote: ModelVote) => signedAs.get(vote) ?? false

function predictSpend(model: Model): string {
  if (model.state !== 'approved') return REFUSED[model.state]
  const approvals = model.votes.filter(({ decision }) => decision === 'approve')
  if (model.now > Math.max(...approvals.map(({ at }) => at)) + LATE) return 'expired'
  if (!canDeal(model, ({ who }) => model.contractors.has(who))) {
    moveTo(model, 'withdrawn')
    return 'withdrawn'
  }
  moveTo(model, isOverdue(model) ? 'expired' : 'spent')
  return model.state
}

function names(one: Asked, { who, at, isContractor }: { who: Name; at: number; isContractor: boolean }): boolean {
  const groups: readonly string[] = isContractor ? [...GROUPS[who], 'contractors'] : GROUPS[who]
  if (one.excludesContractors && groups.includes('contractors')) return false
  return groups.includes(one.group) || (one.escalates && at >= ESCALATE && groups.includes('managers'))
}

/** Tries everything: whether the people can be dealt out to all places. */
function canDeal(model: Model, isContractor: (vote: ModelVote) => boolean): boolean {
  const places = model.requirements.flatMap((one) => Array.from({ length: one.quorum }, () => one))
  const approvals = model.votes.filter(({ decision }) => decision === 'approve')
  return deal(places, approvals)

  function deal([place, ...others]: readonly Asked[], left: readonly ModelVote[]): boolean {
    if (!place) return true
    return left.some((vote) => {
      const counts = place.isOpen && names(place, { ...vote, isContractor: isContractor(vote) })
      return (
        counts &&
        deal(
          others,
          left.filter((other) => other !== vote),
        )
      )
    })
  }
}

function isDenied({ requirements, votes }: Model): boolean {
  const denials = votes.filter(({ decision }) => decision === 'deny')
  return requirements.some((one) => {
    const counted = denials.filter((vote) => names(one, { ...vote, isContractor: wasContractor(vote) }))
    return counted.length >= one.denyQuorum
  })
}

function isOverdue({ state, now, approvedAt }: Model): boolean {
  return (state === 'pending' && now > EXPIRES) || (state === 'approved' && now > approvedAt + USE_WITHIN)
}

/** All rules of the test have the same name: what several want at one moment is one reminder, but an escalation each. */
function nudge(model: Model): void {
  const isDue = (at: number) => at > model.nudgedUntil && at <= model.now
  if (isDue(REMIND)) model.nudges += 1
  if (isDue(ESCALATE)) model.nudges += model.requirements.filter(({ escalates }) => escalates).length
  model.nudgedUntil = model.now
}

function moveTo(model: Model, state: State): void {
  model.state = state
  model.moves += 1
}
