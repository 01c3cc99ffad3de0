import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GRANT_COLUMNS, type GrantRow, signGrant } from '../../src/approvals/grants.ts'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Grant } from '../../src/domain/grant.ts'
import type { Covers, GrantAsk, GrantPermit } from '../../src/domain/permit.ts'
import type { Person, Principal } from '../../src/domain/principal.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import type { Requirement, Verdict } from '../../src/domain/verdict.ts'
import { systemClock } from '../../src/platform/clock.ts'
import {
  agent,
  ballot,
  codeOf,
  FINANCE,
  makeCall,
  party,
  person,
  requirement,
  secretKeys,
  selector,
  type TestCall,
  verdict,
} from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const HASH = 'ab'.repeat(32)
const ANY: GrantAsk = { minutes: 30, uses: 20, covers: 'rule' }
const ONCE: GrantAsk = { minutes: 30, uses: 1, covers: 'rule' }

function permit(more: Partial<GrantPermit> = {}): GrantPermit {
  return { mostMs: 30 * 60_000, mostUses: 20, covers: 'rule', ruleHash: HASH, ...more }
}

const permitting = (more: Partial<Requirement> = {}): Requirement => ({ ...requirement(), grant: permit(), ...more })
const OF = verdict([permitting()])

const rita = person('rita')
const rolf = person('rolf')
const admin = person('ada', [], ['admin'])

describe('grants', () => {
  let world: World
  let queue: Queue
  let other: Queue
  const gone = new Map<string, Person | null>()
  let count = 0
  beforeAll(async () => {
    world = await openWorld()
    const standing = async (voter: Person) => {
      const now = gone.get(voter.subject)
      return now === undefined ? voter : now
    }
    queue = world.openReplica({ standing }).queue
    other = world.openReplica({ standing }).queue
  })
  afterAll(() => world.close())

  function another(): Principal {
    count += 1
    return agent(`granted-${count}`)
  }

  /** Holds a call, and lets somebody approve it with a grant. */
  async function give(principal: Principal, how: { ask?: GrantAsk; of?: Verdict; by?: Person; what?: string } = {}) {
    const call = makeCall({ principal, what: how.what ?? 'the first' })
    const approval = await hold(queue, call, how.of ?? OF)
    const result = await queue.vote(ballot(approval, how.by ?? rita, { grant: how.ask ?? ANY }))
    if (!result.counted || !result.grant) throw new Error(`no grant: ${JSON.stringify(result)}`)
    return { grant: result.grant, approval: result.approval, call }
  }

  function spend(approval: Approval, call: TestCall, { on = queue, of = OF } = {}) {
    return on.spend(approval, call, { verdict: of, digest: call.sealed.digest })
  }

  /** What becomes of another call of the same agent. */
  async function again(principal: Principal, what: string, { on = queue, of = OF } = {}) {
    const call = makeCall({ principal, what })
    const approval = await hold(on, call, of)
    return { call, approval, state: approval.state }
  }

  async function usesOf({ id }: Grant): Promise<number | undefined> {
    const { rows } = await world.store.database.query<{ uses: number }>(
      'SELECT uses FROM reviewer_grant WHERE id = $1',
      [id],
    )
    return rows[0]?.uses
  }

  it('let the next call go without a person, each use an entry that names the grant', async () => {
    const principal = another()
    const { grant, approval: first } = await give(principal)
    const { approval, call, state } = await again(principal, 'the second', { on: other })
    expect(state).toBe('approved')
    expect(approval.votes).toMatchObject([{ reviewer: { subject: 'rita' }, via: `grant:${grant.id}` }])
    expect(await spend(approval, call, { on: other })).toMatchObject({ state: 'spent' })
    expect(await usesOf(grant)).toBe(1)
    expect((await world.entriesOf(first.id)).map(({ kind }) => kind)).toEqual(['held', 'vote', 'granted', 'decided'])
    const entries = await world.entriesOf(approval.id)
    expect(entries.map(({ kind }) => kind)).toEqual(['held', 'vote', 'decided', 'grant_used', 'spent'])
    expect(entries[3]?.body['detail']).toMatchObject({ grant: grant.id })
  })

  it('tell no channel of what nobody has to decide', async () => {
    const told = world.openReplica({ channels: ['slack'] }).queue
    const principal = another()
    await give(principal)
    const { approval } = await again(principal, 'the second', { on: told })
    const { rows } = await world.store.database.query('SELECT FROM outbox WHERE approval = $1', [approval.id])
    expect(rows).toEqual([])
  })

  it('are refused beyond what the rule permits, and then nothing is approved', async () => {
    const principal = another()
    const approval = await hold(
      queue,
      makeCall({ principal }),
      verdict([permitting({ grant: permit({ covers: 'resource' }) })]),
    )
    const asks: GrantAsk[] = [
      { minutes: 31, uses: 1, covers: 'call' },
      { minutes: 30, uses: 21, covers: 'call' },
      { minutes: 30, uses: 20, covers: 'rule' },
    ]
    for (const grant of asks) {
      expect(await queue.vote(ballot(approval, rita, { grant }))).toMatchObject({
        counted: false,
        fault: 'grant_not_permitted',
      })
    }
    expect(await world.stateOf(approval.id)).toBe('pending')
    const plain = await hold(queue, makeCall({ principal: another() }))
    expect(await queue.vote(ballot(plain, rita, { grant: ONCE }))).toMatchObject({ fault: 'grant_not_permitted' })
    expect(await queue.vote(ballot(approval, rita, { grant: ONCE, decision: 'deny' }))).toMatchObject({
      fault: 'grant_not_permitted',
    })
  })

  it.each<[Covers, string[]]>([
    ['call', ['approved', 'pending']],
    ['resource', ['approved', 'approved']],
    ['rule', ['approved', 'approved']],
  ])('cover %s', async (covers, [same, different]) => {
    const principal = another()
    const { call, approval } = await give(principal, { ask: { ...ANY, covers } })
    await spend(approval, call)
    expect((await again(principal, 'the first')).state).toBe(same)
    expect((await again(principal, 'another')).state).toBe(different)
  })

  it('cover one verb on one upstream of one principal, and that resource if they say so', async () => {
    const principal = another()
    await give(principal, { ask: { ...ANY, covers: 'resource' } })
    const call = makeCall({ principal, what: 'elsewhere' })
    const actions = [{ upstream: 'billing', protocol: 'http', verb: 'POST', resource: '/payouts', facts: {} }] as const
    const elsewhere = await queue.hold(call, { effect: 'hold', verdict: OF, actions, refusal: null }, call.sealed)
    expect(elsewhere).toMatchObject({ state: 'pending' })
    const verb = makeCall({ principal, what: 'another verb' })
    const put = [{ upstream: 'billing', protocol: 'http', verb: 'PUT', resource: '/refunds', facts: {} }] as const
    expect(
      await queue.hold(verb, { effect: 'hold', verdict: OF, actions: put, refusal: null }, verb.sealed),
    ).toMatchObject({ state: 'pending' })
    // The same agent for somebody else is another principal.
    expect((await again({ ...principal, onBehalfOf: party('zoe') }, 'mine')).state).toBe('pending')
    const two = makeCall({ principal, what: 'two at once' })
    const both = [actions[0], { ...actions[0], resource: '/refunds' }] as const
    const of = { ...OF, decidingAction: 1 }
    expect(
      await queue.hold(two, { effect: 'hold', verdict: of, actions: both, refusal: null }, two.sealed),
    ).toMatchObject({ state: 'pending' })
  })

  it('let twenty of a hundred go that race for them, on two replicas', async () => {
    const principal = another()
    const options = { open_per_principal: 200 }
    const [left, right] = [world.openReplica({ options }).queue, world.openReplica({ options }).queue]
    const { grant } = await give(principal)
    const results = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const on = index % 2 === 0 ? left : right
        const { approval, call, state } = await again(principal, `call ${index}`, { on })
        return state === 'approved' ? spend(approval, call, { on }) : 'asked'
      }),
    )
    expect(results.filter((result) => typeof result === 'object' && !isRefusal(result))).toHaveLength(20)
    const refused = results.filter((result) => isRefusal(result))
    expect(refused.every((result) => codeOf(result) === 'withdrawn')).toBe(true)
    expect(await usesOf(grant)).toBe(20)
    expect((await again(principal, 'one more')).state).toBe('pending')
  }, 60_000)

  it('are void at once on every replica when they are revoked, also for what they approved', async () => {
    const principal = another()
    const { grant } = await give(principal)
    const ready = await again(principal, 'ready', { on: other })
    expect(ready.state).toBe('approved')
    const stranger = person('sam', [])
    expect(await queue.grants.revoke({ grant: grant.id, by: stranger, reason: null, via: 'api' })).toEqual({
      done: false,
      fault: 'not_found',
    })
    const auditor = person('aud', [], ['auditor'])
    expect(await queue.grants.revoke({ grant: grant.id, by: auditor, reason: null, via: 'api' })).toEqual({
      done: false,
      fault: 'not_allowed',
    })
    const revoked = await queue.grants.revoke({ grant: grant.id, by: admin, reason: 'no more', via: 'api' })
    expect(revoked).toMatchObject({ done: true, isChanged: true, grant: { revokedAt: expect.any(Number) } })
    expect(await other.grants.revoke({ grant: grant.id, by: rita, reason: null, via: 'api' })).toMatchObject({
      done: true,
      isChanged: false,
    })
    expect(await spend(ready.approval, ready.call, { on: other })).toMatchObject({ code: 'withdrawn' })
    expect((await again(principal, 'later', { on: other })).state).toBe('pending')
    expect((await world.entriesOf(grant.approval)).map(({ kind }) => kind)).toContain('grant_revoked')
  })

  it('are shown while they are in force to their reviewer, the owner and those who look after the place', async () => {
    const { grant } = await give(another())
    const sees = async (who: Person) => (await other.grants.list(who)).some(({ id }) => id === grant.id)
    expect(await sees(rita)).toBe(true)
    expect(await sees(person('olga', []))).toBe(true)
    expect(await sees(admin)).toBe(true)
    expect(await sees(rolf)).toBe(false)
    await queue.grants.revoke({ grant: grant.id, by: rita, reason: null, via: 'api' })
    expect(await sees(rita)).toBe(false)
  })

  it('are void when the rule changes, before the hold and after it', async () => {
    const principal = another()
    await give(principal)
    const ready = await again(principal, 'ready')
    const changed = verdict([permitting({ grant: permit({ ruleHash: 'cd'.repeat(32) }) })])
    expect((await again(principal, 'later', { of: changed })).state).toBe('pending')
    expect(await spend(ready.approval, ready.call, { of: changed })).toMatchObject({ code: 'withdrawn' })
    // A rule that permits none any more has none.
    expect((await again(principal, 'much later', { of: verdict() })).state).toBe('pending')
  })

  it('stand for people as they are now: not for who left, is excluded, or is on the requesting side', async () => {
    const principal = another()
    const { grant } = await give(principal, { of: verdict([permitting({ exclude: [selector('group:contractors')] })]) })
    const of = verdict([permitting({ exclude: [selector('group:contractors')] })])
    const ready = await again(principal, 'ready', { of })
    gone.set('rita', null)
    expect((await again(principal, 'gone', { of })).state).toBe('pending')
    gone.set('rita', { ...rita, groups: [FINANCE, { issuerName: 'corp', name: 'contractors' }] })
    expect((await again(principal, 'excluded', { of })).state).toBe('pending')
    expect(await spend(ready.approval, ready.call, { of })).toMatchObject({ code: 'withdrawn' })
    gone.delete('rita')
    // With another owner it is another principal; and a grant is not even read for whom it would stand.
    expect((await again({ ...principal, owner: party('rita') }, 'own')).state).toBe('pending')
    expect(await usesOf(grant)).toBe(0)
  })

  it('meet a quorum only of different people, and use no more of them than it takes', async () => {
    const of = verdict([permitting({ quorum: 2 })])
    const principal = another()
    const held = await Promise.all(
      ['one', 'two', 'three', 'four'].map((what) => hold(queue, makeCall({ principal, what }), of)),
    )
    const approve = async (index: number, by: Person) => {
      const approval = held[index] ?? expect.fail('it is held')
      const result = await queue.vote(ballot(approval, by, { grant: ANY }))
      return (result.counted && result.grant) || expect.fail('it is granted')
    }
    const first = await approve(0, rita)
    expect((await again(principal, 'with one', { of })).state).toBe('pending')
    await approve(1, rita)
    expect((await again(principal, 'with one person twice', { of })).state).toBe('pending')
    const second = await approve(2, rolf)
    const third = await approve(3, person('rosa'))
    const ready = await again(principal, 'with three', { of })
    expect(ready.state).toBe('approved')
    expect(ready.approval.votes).toHaveLength(2)
    expect(await spend(ready.approval, ready.call, { of })).toMatchObject({ state: 'spent' })
    const uses = await Promise.all([first, second, third].map(usesOf))
    expect(uses.reduce<number>((sum, one) => sum + (one ?? 0), 0)).toBeLessThanOrEqual(2)
  })

  it('count for the rules that permitted them, and for no others', async () => {
    const principal = another()
    await give(principal)
    const security = requirement({ rule: { policy: 'billing', rule: 'also' } })
    expect((await again(principal, 'two rules', { of: verdict([permitting(), security]) })).state).toBe('pending')
  })

  it('may be taken back call by call: what a grant approved is denied like anything else', async () => {
    const principal = another()
    await give(principal)
    const ready = await again(principal, 'ready')
    expect(await queue.vote(ballot(ready.approval, rolf, { decision: 'deny' }))).toMatchObject({
      counted: true,
      approval: { state: 'denied' },
    })
    expect(await spend(ready.approval, ready.call)).toMatchObject({ code: 'not_approved' })
  })

  it('end with a no to what they were given on', async () => {
    const of = verdict([permitting({ quorum: 2 })])
    const principal = another()
    const [one, two, three] = await Promise.all(
      ['one', 'two', 'three'].map((what) => hold(queue, makeCall({ principal, what }), of)),
    )
    if (!one || !two || !three) throw new Error('they are held')
    await queue.vote(ballot(one, rita, { grant: ANY }))
    await queue.vote(ballot(two, rolf, { grant: ANY }))
    const ready = await again(principal, 'ready', { of })
    expect(ready.state).toBe('approved')
    expect(await queue.vote(ballot(one, person('rosa'), { decision: 'deny' }))).toMatchObject({ counted: true })
    expect((await again(principal, 'denied by another', { of })).state).toBe('pending')
    expect(await spend(ready.approval, ready.call, { of })).toMatchObject({ code: 'withdrawn' })
    await queue.vote(ballot(three, rita, { grant: ANY }))
    expect((await again(principal, 'and again', { of })).state).toBe('approved')
    await queue.vote(ballot(three, rita, { decision: 'deny' }))
    expect((await again(principal, 'taken back', { of })).state).toBe('pending')
    expect((await world.entriesOf(three.id)).map(({ kind }) => kind)).toContain('grant_revoked')
  })

  describe('in the hands of whoever writes to the database', () => {
    async function rowOf(grant: Grant): Promise<GrantRow> {
      const { rows } = await world.store.database.query<GrantRow>(
        `SELECT ${GRANT_COLUMNS} FROM reviewer_grant WHERE id = $1`,
        [grant.id],
      )
      if (!rows[0]) throw new Error('it is there')
      return rows[0]
    }

    it('are worth nothing if another key signed them', async () => {
      const principal = another()
      const { grant } = await give(principal, { ask: ONCE })
      await queue.grants.revoke({ grant: grant.id, by: rita, reason: null, via: 'api' })
      const row = await rowOf(grant)
      const forged = { ...row, id: 'F0RGED0001', subject: 'rolf' }
      const { mac } = signGrant(secretKeys(row.kid), forged)
      await world.store.database.query(
        `INSERT INTO reviewer_grant SELECT 'F0RGED0001', approval, issuer, 'rolf', name, groups, roles, assurance, authenticated_at,
           reason, principal_key, requester, upstream, verb, resource, match_key, covers, rules, most_uses, given_at, until, kid, $2
         FROM reviewer_grant WHERE id = $1`,
        [grant.id, mac],
      )
      // And one that is a copy, signature and all.
      await world.store.database.query(
        `INSERT INTO reviewer_grant SELECT 'F0RGED0002', approval, issuer, 'rosa', name, groups, roles, assurance, authenticated_at,
           reason, principal_key, requester, upstream, verb, resource, match_key, covers, rules, most_uses, given_at, until, kid, mac
         FROM reviewer_grant WHERE id = $1`,
        [grant.id],
      )
      expect((await again(principal, 'later')).state).toBe('pending')
    })

    it('are not altered, used less, or brought back', async () => {
      const { grant } = await give(another(), { ask: { ...ANY, uses: 2 } })
      const set = (what: string) =>
        world.store.database.query(`UPDATE reviewer_grant SET ${what} WHERE id = $1`, [grant.id])
      await set('uses = uses + 1')
      await expect(set('uses = 0')).rejects.toThrow('never less')
      await expect(set(`until = until + interval '1 day'`)).rejects.toThrow('permission denied')
      await queue.grants.revoke({ grant: grant.id, by: rita, reason: null, via: 'api' })
      await expect(set('revoked_at = NULL')).rejects.toThrow('stays revoked')
      await expect(world.store.database.query('DELETE FROM reviewer_grant')).rejects.toThrow('permission denied')
    })

    it('end by the clock of the gateway, though that of the store stands still', async () => {
      const principal = another()
      const { grant } = await give(principal, { ask: { ...ANY, minutes: 1 } })
      const ready = await again(principal, 'ready')
      const clock = { ...systemClock, now: () => Date.now() + 3 * 60_000 }
      const late = world.openReplica({ clock }).queue
      expect(await spend(ready.approval, ready.call, { on: late })).toMatchObject({ code: 'withdrawn' })
      expect(await usesOf(grant)).toBe(0)
    })

    it('stay revoked as long as the log says so, though a superuser put the row back', async () => {
      const principal = another()
      const { grant } = await give(principal)
      await queue.grants.revoke({ grant: grant.id, by: rita, reason: null, via: 'api' })
      await world.asSuperuser(
        'ALTER TABLE countersign.reviewer_grant DISABLE TRIGGER ALL',
        `UPDATE countersign.reviewer_grant SET revoked_at = NULL WHERE id = '${grant.id}'`,
        'ALTER TABLE countersign.reviewer_grant ENABLE ALWAYS TRIGGER guard',
        'ALTER TABLE countersign.reviewer_grant ENABLE ALWAYS TRIGGER keep',
      )
      const { approval, call } = await again(principal, 'later')
      expect(await spend(approval, call)).toMatchObject({
        code: approval.state === 'approved' ? 'withdrawn' : 'approval_pending',
      })
    })
  })

  it('end with a failover or a restore', async () => {
    const principal = another()
    await give(principal)
    await queue.withdrawAll({ reason: 'store_failover', openedBefore: new Date(Date.now() + 60_000) })
    expect((await again(principal, 'later')).state).toBe('pending')
  })
})
