import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GRANT_COLUMNS, type GrantRow, signGrant } from '../../src/approvals/grants.ts'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Covers } from '../../src/domain/permit.ts'
import type { Person } from '../../src/domain/principal.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import type { Verdict } from '../../src/domain/verdict.ts'
import { agent, ballot, granted, makeCall, person, requirement, selector, type TestCall, verdict } from './parts.ts'
import { openWorld, type World } from './world.ts'

const NAMES = ['rita', 'rolf', 'rosa', 'sam', 'olga'] as const
type Name = (typeof NAMES)[number]
/** `sam` is no reviewer, `olga` owns the agent. */
const REVIEWERS: readonly Name[] = ['rita', 'rolf', 'rosa']
const MOST_USES = 3
const RESOURCES = ['/refunds', '/payouts'] as const

type Step =
  | {
      readonly kind: 'give'
      readonly who: Name
      readonly uses: number
      readonly covers: Covers
      readonly resource: string
    }
  | { readonly kind: 'call'; readonly resource: string }
  | { readonly kind: 'revoke' | 'lapse'; readonly index: number }
  | { readonly kind: 'contract'; readonly who: Name }
  | { readonly kind: 'spend' | 'rule' }

const resource = fc.constantFrom(...RESOURCES)
const give = fc.record({
  kind: fc.constant('give' as const),
  who: fc.constantFrom(...REVIEWERS, ...NAMES),
  uses: fc.constantFrom(1, 2, MOST_USES, MOST_USES + 1),
  covers: fc.constantFrom<Covers>('resource', 'rule', 'rule'),
  resource,
})
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: give },
  { weight: 7, arbitrary: fc.record({ kind: fc.constant('call' as const), resource }) },
  { weight: 7, arbitrary: fc.record({ kind: fc.constant('spend' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom('revoke' as const, 'lapse' as const), index: fc.nat({ max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('contract' as const), who: fc.constantFrom(...REVIEWERS) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rule' as const) }) },
)

/** Something is granted first: what happens to it then is the story. */
const steps: fc.Arbitrary<readonly Step[]> = fc
  .tuple(fc.array(give, { minLength: 1, maxLength: 2 }), fc.array(step, { minLength: 8, maxLength: 24 }))
  .map(([first, more]) => [...first, ...more])

/** A grant, in the simplest terms. */
interface ModelGrant {
  readonly id: string
  readonly who: Name
  readonly most: number
  readonly covers: Covers
  readonly resource: string
  readonly rule: number
  uses: number
  isOver: boolean
}

interface Ready {
  readonly approval: Approval
  readonly call: TestCall
  readonly grants: readonly ModelGrant[]
}

describe('grants, whatever happens to them', () => {
  let world: World
  let queue: Queue
  const contractors = new Set<string>()
  beforeAll(async () => {
    world = await openWorld()
    const standing = async (voter: Person) => asNow(voter)
    queue = world.openReplica({ standing, options: { open_per_principal: 1000 } }).queue
  })
  afterAll(() => world.close())

  function asNow(who: Person): Person {
    const contractor = { issuerName: 'corp', name: 'contractors' }
    return contractors.has(who.subject) ? { ...who, groups: [...who.groups, contractor] } : who
  }

  function personOf(name: Name): Person {
    return asNow(name === 'sam' ? person(name, []) : person(name))
  }

  it('do what the simplest model does', async () => {
    let run = 0
    const seen = { used: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(1, 1, 2), steps, async (quorum, sequence) => {
        run += 1
        contractors.clear()
        const principal = agent(`grants-model-${run}`)
        const grants: ModelGrant[] = []
        const ready: Ready[] = []
        let rule = 1
        let calls = 0

        for (const next of sequence) await perform(next)
        const counted = await usesOf(grants.map(({ id }) => id))
        expect(counted).toEqual(new Map(grants.map(({ id, uses }) => [id, uses])))

        async function perform(next: Step): Promise<void> {
          switch (next.kind) {
            case 'give': {
              const { approval } = await hold(next.resource)
              if (approval.state !== 'pending') return
              const { who, uses, covers } = next
              const ask = { minutes: 30, uses, covers }
              const result = await queue.vote(ballot(approval, personOf(who), { grant: ask }))
              expect(result.counted ? 'counted' : result.fault).toBe(predictGiving(who, uses))
              if (!result.counted || !result.grant) return
              const { id } = result.grant
              grants.push({ id, who, most: uses, covers, resource: next.resource, rule, uses: 0, isOver: false })
              return
            }
            case 'call':
              await hold(next.resource)
              return
            case 'spend':
              return spend()
            case 'revoke': {
              const grant = grants[next.index]
              if (!grant) return
              const how = { grant: grant.id, by: person(grant.who), reason: null, via: 'api' }
              expect(await queue.grants.revoke(how)).toMatchObject({ done: true })
              grant.isOver = true
              return
            }
            case 'lapse': {
              const grant = grants[next.index]
              if (!grant) return
              await lapse(grant.id)
              grant.isOver = true
              return
            }
            case 'contract':
              contractors.add(next.who)
              return
            case 'rule':
              rule += 1
          }
        }

        /** Holds another call. It is approved exactly if enough different people would, by what they granted. */
        async function hold(at: string): Promise<{ approval: Approval; call: TestCall }> {
          calls += 1
          const call = makeCall({ principal, what: `call ${calls}` })
          const actions = [{ upstream: 'billing', protocol: 'http', verb: 'POST', resource: at, facts: {} }] as const
          const judged = { effect: 'hold', verdict: ofNow(), actions, refusal: null } as const
          const approval = granted(await queue.hold(call, judged, call.sealed))
          const able = grants.filter((one) => isAble(one, at))
          const isEnough = new Set(able.map(({ who }) => who)).size >= quorum
          expect(approval.state).toBe(isEnough ? 'approved' : 'pending')
          const named = approval.votes.map(({ via }) => grants.find(({ id }) => via === `grant:${id}`))
          const used = named.filter((one) => one !== undefined)
          expect(used.every((one) => able.includes(one))).toBe(true)
          expect(new Set(used.map(({ who }) => who)).size).toBe(isEnough ? quorum : 0)
          if (isEnough) ready.push({ approval, call, grants: used })
          return { approval, call }
        }

        /** Uses what was approved first. It goes exactly if every grant that approved it still would. */
        async function spend(): Promise<void> {
          const first = ready.shift()
          if (!first) return
          const { approval, call } = first
          const isStill = first.grants.every((one) => isAble(one, approval.resource))
          const result = await queue.spend(approval, call, { verdict: ofNow(), digest: call.sealed.digest })
          expect(isRefusal(result) ? result.code : result.state).toBe(isStill ? 'spent' : 'withdrawn')
          if (isStill) for (const one of first.grants) one.uses += 1
          seen[isStill ? 'used' : 'refused'] += 1
          const named = (await world.entriesOf(approval.id)).filter(({ kind }) => kind === 'grant_used')
          expect(named).toHaveLength(isStill ? quorum : 0)
        }

        function isAble(one: ModelGrant, at: string): boolean {
          if (one.isOver || one.uses >= one.most || one.rule !== rule || contractors.has(one.who)) return false
          return one.covers === 'rule' || one.resource === at
        }

        function ofNow(): Verdict {
          const exclude = [selector('group:contractors')]
          const ruleHash = String(rule).padStart(64, '0')
          const grant = { mostMs: 30 * 60_000, mostUses: MOST_USES, covers: 'rule', ruleHash } as const
          return verdict([{ ...requirement({ quorum, exclude }), grant }])
        }
      }),
      { numRuns: 80 },
    )
    // Sequences in which nothing is granted would show nothing.
    expect(seen.used).toBeGreaterThan(20)
    expect(seen.refused).toBeGreaterThan(5)
  }, 120_000)

  function predictGiving(who: Name, uses: number): string {
    if (who === 'olga') return 'self_approval'
    if (!REVIEWERS.includes(who) || contractors.has(who)) return 'not_entitled'
    return uses > MOST_USES ? 'grant_not_permitted' : 'counted'
  }

  async function usesOf(ids: readonly string[]): Promise<Map<string, number>> {
    const { rows } = await world.store.database.query<{ id: string; uses: number }>(
      'SELECT id, uses FROM reviewer_grant WHERE id = ANY($1) ORDER BY given_at, id',
      [ids],
    )
    return new Map(rows.map(({ id, uses }) => [id, uses]))
  }

  /** As if its time had passed: the record stays genuine, so is signed again. */
  async function lapse(id: string): Promise<void> {
    const { rows } = await world.store.database.query<GrantRow>(
      `SELECT ${GRANT_COLUMNS} FROM reviewer_grant WHERE id = $1`,
      [id],
    )
    const [row] = rows
    if (!row) throw new Error('it is there')
    const given_at = new Date(Date.now() - 3_600_000)
    const until = new Date(Date.now() - 60_000)
    const { mac } = signGrant(world.keys.mac, { ...row, given_at, until })
    await world.asSuperuser(
      'ALTER TABLE countersign.reviewer_grant DISABLE TRIGGER ALL',
      `UPDATE countersign.reviewer_grant SET given_at = '${given_at.toISOString()}', until = '${until.toISOString()}',
         mac = '\\x${mac.toString('hex')}' WHERE id = '${id}'`,
      'ALTER TABLE countersign.reviewer_grant ENABLE ALWAYS TRIGGER guard',
      'ALTER TABLE countersign.reviewer_grant ENABLE ALWAYS TRIGGER keep',
    )
  }
})
