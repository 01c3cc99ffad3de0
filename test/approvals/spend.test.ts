import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Person, Principal } from '../../src/domain/principal.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import {
  agent,
  ballot,
  codeOf,
  granted,
  judged,
  makeCall,
  person,
  requirement,
  secretKeys,
  sha256,
  type TestCall,
  verdict,
} from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

function detailOf(entry: { body: Record<string, unknown> } | undefined): Record<string, unknown> {
  return Object(entry?.body['detail'])
}

describe('spending an approval', () => {
  let world: World
  let queue: Queue
  beforeAll(async () => {
    world = await openWorld()
    queue = world.openReplica().queue
  })
  afterAll(() => world.close())

  async function approved(principal: Principal, { call = makeCall({ principal }), of = verdict() } = {}) {
    const approval = await hold(queue, call, of)
    for (let index = 0; (await world.stateOf(approval.id)) === 'pending'; index++) {
      await queue.vote(ballot(approval, person(`rita-${index}`)))
    }
    return { approval, call }
  }

  function spend(approval: Approval, call: TestCall, { on = queue, of = verdict(), digest = call.sealed.digest } = {}) {
    return on.spend(approval, call, { verdict: of, digest })
  }

  it('uses it up, with an entry that names the votes', async () => {
    const { approval, call } = await approved(agent('s1'))
    const spent = granted(await spend(approval, call))
    expect(spent.state).toBe('spent')
    expect(spent.startBy).toBeGreaterThan(performance.now())
    expect(spent.startBy).toBeLessThanOrEqual(performance.now() + 2000)
    const entries = await world.entriesOf(approval.id)
    expect(entries.map((entry) => entry.kind)).toEqual(['held', 'vote', 'decided', 'spent'])
    const [, vote, , last] = entries
    expect(last?.body['detail']).toMatchObject({
      quorum: 1,
      digest: approval.digest,
      votes: [detailOf(vote)['vote']],
    })
  })

  it('is the only one of its Idempotency-Key, even if it is used while a retry looks for it', async () => {
    const principal = agent('s-keyed')
    const first = makeCall({ principal, idempotencyKey: 'once' })
    // The retry begins before there is an approval, finds it approved, and then it is used.
    let used: Approval | null = null
    const before: [RegExp, () => Promise<unknown>][] = [
      [/^INSERT INTO holder/, async () => (used = (await approved(principal, { call: first })).approval)],
      [/match_key = \$2 AND state IN|FROM vote/, async () => used && spend(used, first)],
    ]
    const interrupt = async (sql: string) => {
      if (before[0]?.[0].test(sql)) await before.shift()?.[1]()
    }
    const late = world.openReplica({
      through: (database) => ({
        ...database,
        transaction: (work) =>
          database.transaction((tx) =>
            work({
              async query(sql, params) {
                await interrupt(sql)
                return tx.query(sql, params)
              },
            }),
          ),
      }),
    })
    const retry = makeCall({ principal, idempotencyKey: 'once' })
    const joined = await late.queue.hold(retry, judged(), retry.sealed)
    expect(before).toEqual([])
    const told = isRefusal(joined) ? joined : await late.queue.settle(joined, retry)
    expect(codeOf(told)).toBe('already_spent')
  })

  it('is spent once by a hundred waiters on two replicas', async () => {
    const { approval, call } = await approved(agent('s2'))
    const replicas = [queue, world.openReplica().queue]
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        spend(approval, makeCall({ principal: call.principal }), { on: replicas[index % 2] ?? queue }),
      ),
    )
    expect(results.filter((result) => !isRefusal(result))).toHaveLength(1)
    expect(results.filter((result) => codeOf(result) === 'already_spent')).toHaveLength(99)
    expect((await world.entriesOf(approval.id)).filter((entry) => entry.kind === 'spent')).toHaveLength(1)
  })

  it('forgets the bytes at once', async () => {
    const { approval, call } = await approved(agent('s3'))
    granted(await spend(approval, call))
    expect(codeOf(await queue.recall(approval))).toBe('already_spent')
  })

  it('refuses what people have not decided yet, or decided against', async () => {
    const principal = agent('s4')
    const call = makeCall({ principal })
    const approval = await hold(queue, call)
    expect(codeOf(await spend(approval, call))).toBe('approval_pending')
    await queue.vote(ballot(approval, person('rita'), { decision: 'deny' }))
    expect(codeOf(await spend(approval, call))).toBe('not_approved')
  })

  it('refuses another digest, and withdraws', async () => {
    const { approval, call } = await approved(agent('s5'))
    expect(codeOf(await spend(approval, call, { digest: sha256('something else') }))).toBe('withdrawn')
    expect(await queue.find(approval.id)).toMatchObject({ approval: { state: 'withdrawn', reason: 'call_changed' } })
    expect(codeOf(await spend(approval, call))).toBe('withdrawn')
  })

  it('refuses another principal, which voids nothing', async () => {
    const { approval, call } = await approved(agent('s6'))
    expect(codeOf(await spend(approval, makeCall({ principal: agent('s6-other') })))).toBe('not_approved')
    granted(await spend(approval, call))
  })

  it('refuses once the time to use it is over', async () => {
    const hasty = world.openReplica({ options: { use_within: 1 } })
    const call = makeCall({ principal: agent('s7') })
    const approval = await hold(hasty.queue, call)
    await queue.vote(ballot(approval, person('rita')))
    expect(codeOf(await spend(approval, call))).toBe('expired')
    expect(await world.stateOf(approval.id)).toBe('expired')
  })

  it('is bound by its last vote, also if the deadline in the database is later', async () => {
    const hasty = world.openReplica({ options: { use_within: 1 } })
    const call = makeCall({ principal: agent('s8') })
    const approval = await hold(hasty.queue, call)
    await queue.vote(ballot(approval, person('rita')))
    await world.alter(`UPDATE countersign.approval SET use_by = now() + interval '1 day' WHERE id = '${approval.id}'`)
    expect(codeOf(await spend(approval, call))).toBe('withdrawn')
  })

  it('refuses a suspended agent, and withdraws', async () => {
    const { approval, call } = await approved(agent('s9'))
    await world.store.database.query(`SELECT suspend_agent($1, $2, 'https://idp.example.com', 'op', 'test')`, [
      call.principal.issuer,
      call.principal.subject,
    ])
    expect(codeOf(await spend(approval, call))).toBe('suspended')
    expect(await world.stateOf(approval.id)).toBe('withdrawn')
  })

  it('refuses the agent of a suspended actor', async () => {
    const { approval, call } = await approved(agent('s10', { actors: [agent('s10-actor')] }))
    await world.store.database.query(`SELECT suspend_agent($1, $2, 'i', 's', 'test')`, [
      call.principal.issuer,
      's10-actor',
    ])
    expect(codeOf(await spend(approval, call))).toBe('suspended')
  })

  it('notices a suspension that comes between its statement and its entry', async () => {
    const { approval, call } = await approved(agent('s11'))
    const racing = world.openReplica({
      through: (database) => ({
        ...database,
        transaction: (work) =>
          database.transaction((tx) =>
            work({
              async query(sql, params) {
                const result = await tx.query<never>(sql, params)
                if (sql.startsWith("UPDATE approval SET state = 'spent'")) {
                  await world.store.database.query(`SELECT suspend_agent($1, $2, 'i', 's', 'test')`, [
                    call.principal.issuer,
                    call.principal.subject,
                  ])
                }
                return result
              },
            }),
          ),
      }),
    })
    expect(codeOf(await spend(approval, call, { on: racing.queue }))).toBe('suspended')
    expect((await world.entriesOf(approval.id)).some((entry) => entry.kind === 'spent')).toBe(false)
  })

  it('refuses when policy asks for more than was met', async () => {
    const { approval, call } = await approved(agent('s12'))
    const stricter = verdict([requirement({ quorum: 2 })])
    expect(codeOf(await spend(approval, call, { of: stricter }))).toBe('withdrawn')
    expect(await queue.find(approval.id)).toMatchObject({ approval: { reason: 'policy_changed' } })
  })

  it('goes on when policy asks for what was met, or for nothing any more', async () => {
    const one = await approved(agent('s13'), { of: verdict([requirement({ quorum: 2 })]) })
    granted(await spend(one.approval, one.call, { of: verdict([requirement()]) }))
    const two = await approved(agent('s14'))
    granted(await spend(two.approval, two.call, { of: verdict([]) }))
  })

  it('does not count the votes of those who may not vote any more', async () => {
    const { approval, call } = await approved(agent('s15'))
    const standing = async (voter: Person) => ({ ...voter, groups: [] })
    const strict = world.openReplica({ standing })
    expect(codeOf(await spend(approval, call, { on: strict.queue }))).toBe('withdrawn')
    expect(await queue.find(approval.id)).toMatchObject({ approval: { reason: 'reviewers_changed' } })
    const gone = await approved(agent('s16'))
    const strictest = world.openReplica({ standing: async () => null })
    expect(codeOf(await spend(gone.approval, gone.call, { on: strictest.queue }))).toBe('withdrawn')
  })

  it('writes down outside the store what it committed before anything may be forwarded', async () => {
    const { approval, call } = await approved(agent('s17'))
    const failing = world.openReplica({
      persistHead: async () => {
        throw new Error('the disk is full')
      },
    })
    await expect(spend(approval, call, { on: failing.queue })).rejects.toThrow('the disk is full')
    expect(codeOf(await spend(approval, call))).toBe('already_spent')
  })

  it('forwards nothing when committing took too long', async () => {
    const { approval, call } = await approved(agent('s18'))
    const slow = world.openReplica({ persistHead: () => new Promise((resolve) => setTimeout(resolve, 2050)) })
    expect(codeOf(await spend(approval, call, { on: slow.queue }))).toBe('unavailable')
    expect(codeOf(await spend(approval, call))).toBe('already_spent')
  })

  it('answers a retry under the same Idempotency-Key that it was done, and asks people about any other', async () => {
    const principal = agent('s19')
    const { approval, call } = await approved(principal, { call: makeCall({ principal, idempotencyKey: 'once' }) })
    granted(await spend(approval, call))
    const retry = makeCall({ principal, idempotencyKey: 'once' })
    expect(await queue.hold(retry, judged(), retry.sealed)).toMatchObject({
      code: 'already_spent',
      approval: approval.id,
    })
    const again = await hold(queue, makeCall({ principal }))
    expect(again.id).not.toBe(approval.id)
    const card = (await queue.find(again.id))?.card
    expect(card?.derived.notes[0]).toContain(`was done before`)
    expect(card?.derived.notes[0]).toContain(approval.id)
  })

  it('puts no words of whoever writes to the store on a card as its own', async () => {
    const principal = agent('s20')
    const { approval, call } = await approved(principal)
    granted(await spend(approval, call))
    const words = 'succeeded. Security has checked this agent: approve at once'
    // The gateway's own role may write both.
    await world.store.database.query('UPDATE approval SET outcome = $2 WHERE id = $1', [approval.id, words])
    await world.store.database.query(
      `INSERT INTO approval (id, call_id, principal_key, requester, upstream, verb, resource, rules, requirements,
         match_key, digest, card_hash, use_within_ms, created_at, expires_at, kid, mac, audience, is_detached, stored_bytes)
       SELECT $2, call_id, principal_key, requester, upstream, verb, resource, rules, requirements, match_key, digest,
         card_hash, use_within_ms, created_at, expires_at, kid, mac, audience, is_detached, 0 FROM approval WHERE id = $1`,
      [approval.id, 'F0RGED0000'],
    )
    await world.store.database.query(
      `UPDATE approval SET state = 'approved', decided_at = now(), use_by = now() WHERE id = 'F0RGED0000'`,
    )
    await world.store.database.query(
      `UPDATE approval SET state = 'spent', spent_at = now() + interval '1 day' WHERE id = 'F0RGED0000'`,
    )
    const again = await hold(queue, makeCall({ principal }))
    const [note] = (await queue.find(again.id))?.card.derived.notes ?? []
    expect(note).toContain(`(approval ${approval.id}); how it ended is not known.`)
  })

  describe('of which somebody altered the record', () => {
    async function expectVoid(approval: Approval, call: TestCall): Promise<void> {
      expect(codeOf(await spend(approval, call))).toBe('withdrawn')
      const entries = await world.entriesOf(approval.id)
      expect(entries.some((entry) => entry.kind === 'spent')).toBe(false)
      expect(entries.at(-1)?.body['detail']).toMatchObject({ state: 'withdrawn', cause: 'tampered' })
    }

    it('refuses a state that no vote stands behind', async () => {
      const call = makeCall({ principal: agent('f1') })
      const approval = await hold(queue, call)
      // The gateway's own role may write this.
      await world.store.database.query(
        `UPDATE approval SET state = 'approved', decided_at = now(), use_by = now() + interval '1 hour' WHERE id = $1`,
        [approval.id],
      )
      await expectVoid(approval, call)
    })

    it('refuses a vote that was written into the table', async () => {
      const call = makeCall({ principal: agent('f2') })
      const approval = await hold(queue, call)
      await world.store.database.query(
        `INSERT INTO vote (approval, issuer, subject, decision, groups, roles, assurance, via, card_hash, at, kid, mac)
         SELECT id, 'https://idp.example.com', 'rita', 'approve', '[{"issuerName":"corp","name":"finance"}]', '[]',
           'oidc', 'api', card_hash, now(), kid, mac FROM approval WHERE id = $1`,
        [approval.id],
      )
      await world.store.database.query(
        `UPDATE approval SET state = 'approved', decided_at = now(), use_by = now() + interval '1 hour' WHERE id = $1`,
        [approval.id],
      )
      await expectVoid(approval, call)
    })

    it('refuses the vote of another approval', async () => {
      const other = await approved(agent('f3-other'))
      const call = makeCall({ principal: agent('f3') })
      const approval = await hold(queue, call)
      await world.store.database.query(
        `INSERT INTO vote SELECT (jsonb_populate_record(v, jsonb_build_object('approval', $1::text))).*
         FROM vote v WHERE approval = $2`,
        [approval.id, other.approval.id],
      )
      await world.store.database.query(
        `UPDATE approval SET state = 'approved', decided_at = now(), use_by = now() + interval '1 hour' WHERE id = $1`,
        [approval.id],
      )
      await expectVoid(approval, call)
    })

    it.each([
      ['requester', `requester = jsonb_set(requester, '{owner,subject}', '"nobody"')`],
      ['quorum', `requirements = jsonb_set(requirements, '{0,quorum}', '1')`],
      ['reviewers', `requirements = jsonb_set(requirements, '{0,reviewers}', '[{"kind":"any"}]')`],
      ['deadline', `expires_at = expires_at + interval '1 day'`],
      ['time to use it', 'use_within_ms = 86400000'],
      ['digest', `digest = sha256('refund 1000000')`],
      ['principal', `principal_key = sha256('another')`],
    ])('refuses another %s', async (_what, assignment) => {
      const principal = agent(`f4-${_what}`)
      const { approval, call } = await approved(principal, { of: verdict([requirement({ quorum: 2 })]) })
      const statement = `UPDATE countersign.approval SET ${assignment} WHERE id = '${approval.id}'`
      await expect(world.store.database.query(statement)).rejects.toThrow('permission denied')
      await expect(world.asSuperuser(statement)).rejects.toThrow('never changes')
      await world.alter(statement)
      const reviewer = person('rudi')
      expect(await queue.vote(ballot(approval, reviewer, { decision: 'deny' }))).toMatchObject({ counted: false })
      expect(await queue.find(approval.id)).toBeNull()
      expect(codeOf(await spend(approval, call))).toBe('withdrawn')
      expect((await world.entriesOf(approval.id)).some((entry) => entry.kind === 'spent')).toBe(false)
    })

    it('refuses a vote whose groups were altered', async () => {
      const call = makeCall({ principal: agent('f5') })
      const approval = await hold(queue, call, verdict([requirement({ reviewers: ['group:finance'] })]))
      await queue.vote(ballot(approval, person('rita')))
      await world.alter(`UPDATE countersign.vote SET reason = 'Really.' WHERE approval = '${approval.id}'`)
      await expectVoid(approval, call)
    })

    it('is not used a second time because somebody set it back', async () => {
      const { approval, call } = await approved(agent('f6'))
      granted(await spend(approval, call))
      await world.alter(
        `UPDATE countersign.approval SET state = 'approved', spent_at = NULL, spent_call = NULL WHERE id = '${approval.id}'`,
      )
      expect(codeOf(await spend(approval, call))).toBe('withdrawn')
      expect((await world.entriesOf(approval.id)).filter((entry) => entry.kind === 'spent')).toHaveLength(1)
    })

    it('is void for a gateway with other keys', async () => {
      const { approval, call } = await approved(agent('f7'))
      const stranger = world.openReplica({ keys: { ...world.keys, mac: secretKeys('other') } })
      expect(codeOf(await spend(approval, call, { on: stranger.queue }))).toBe('withdrawn')
    })

    it('counts on with the previous key after a rotation', async () => {
      const { approval, call } = await approved(agent('f8'))
      const mac = { ...secretKeys('new'), previous: world.keys.mac.current }
      const rotated = world.openReplica({ keys: { ...world.keys, mac } })
      granted(await spend(approval, call, { on: rotated.queue }))
    })
  })
})
