import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Approval } from '../../src/domain/approval.ts'
import type { Person } from '../../src/domain/principal.ts'
import type { Reviewer } from '../../src/domain/selector.ts'
import { agent, ballot, codeOf, makeCall, party, person, requirement, selector, verdict } from './parts.ts'
import { hold, openWorld, type Replica, type World } from './world.ts'

const DAY_MS = 86_400_000
const gone = new Set<string>()

let world: World
let one: Replica
let two: Replica
let next = 0
beforeAll(async () => {
  world = await openWorld()
  const standing = async (voter: Person) => (gone.has(voter.subject) ? null : voter)
  const options = { open_per_principal: 200 }
  one = world.openReplica({ options, standing })
  two = world.openReplica({ options, standing })
})
afterAll(() => world?.close())

/** People of one test, with names of their own: nobody stands in for two people's test at once. */
async function cast() {
  next += 1
  const of = (role: string, groups?: Parameters<typeof person>[1]) => person(`${role}${next}`, groups ?? [])
  const people = { paula: of('paula'), dan: of('dan'), eve: of('eve'), quinn: of('quinn') }
  // Only who has voted is known.
  const approval = await held([requirement({ reviewers: ['*'], quorum: 9 })])
  for (const who of Object.values(people)) await one.queue.vote(ballot(approval, who))
  return people
}

async function held(requirements = [requirement()], requester: Parameters<typeof agent>[1] = {}) {
  const call = makeCall({ what: `delegated ${next++}`, principal: agent('agent-7', requester) })
  const of = verdict(requirements)
  const approval = await hold(one.queue, call, of)
  return Object.assign(approval, { call, of })
}

const named = (...people: readonly Person[]) => people.map(({ issuer, subject }) => `${issuer}|${subject}`)
const naming = (...people: readonly Person[]) => requirement({ reviewers: named(...people) })

async function delegate(by: Person, to: Person, more: { from?: number; until?: number } = {}) {
  return one.queue.delegations.make({ by, delegate: to, from: 0, until: Date.now() + DAY_MS, via: 'console', ...more })
}

async function delegated(by: Person, to: Person): Promise<string> {
  const made = await delegate(by, to)
  if ('fault' in made) throw new Error(made.fault)
  return made.delegation.id
}

const vote = (approval: Approval, who: Person, more: Parameters<typeof ballot>[2] = {}) =>
  one.queue.vote(ballot(approval, who, more))

async function spend({ call, of, ...approval }: Awaited<ReturnType<typeof held>>) {
  const result = await one.queue.spend(approval, call, { verdict: of, digest: call.sealed.digest })
  return codeOf(result) ?? 'spent'
}

describe('a delegate', () => {
  it('decides where the rule names whoever is away, sees it meanwhile, and the vote says for whom', async () => {
    const { paula, dan, eve } = await cast()
    const approval = await held([naming(paula)])
    expect(await vote(approval, dan)).toMatchObject({ fault: 'not_entitled' })
    expect(await two.queue.findFor(dan, approval.id)).toBeNull()
    const id = await delegated(paula, dan)
    expect(await two.queue.findFor(dan, approval.id)).toMatchObject({ standsFor: { subject: paula.subject } })
    expect((await two.queue.list(dan, { ballot: 'open' })).map((each) => each.id)).toContain(approval.id)
    expect(await two.queue.findFor(eve, approval.id)).toBeNull()
    expect(await vote(approval, dan)).toMatchObject({
      counted: true,
      approval: {
        state: 'approved',
        votes: [
          { reviewer: { subject: dan.subject }, via: `delegate:${id}:api`, standsFor: { subject: paula.subject } },
        ],
      },
    })
    expect(await spend(approval)).toBe('spent')
    const entries = (await world.entriesOf(approval.id)).filter(({ kind }) => kind === 'vote')
    expect(entries[0]?.body).toMatchObject({ stands_for: expect.any(String), reviewer: expect.any(String) })
    expect(JSON.stringify(entries)).not.toContain('paula')
  })

  it('may deny and ask as well', async () => {
    const { paula, dan } = await cast()
    await delegated(paula, dan)
    const approval = await held([naming(paula)])
    expect(await one.queue.ask({ approval: approval.id, by: dan, text: 'Why?', via: 'api' })).toMatchObject({
      asked: true,
    })
    expect(await vote(approval, dan, { decision: 'deny' })).toMatchObject({ approval: { state: 'denied' } })
  })

  it('stands in for the owner’s manager', async () => {
    const { paula, dan } = await cast()
    await delegated(paula, dan)
    const manager: Reviewer = { kind: 'manager', party: { issuer: paula.issuer, subject: paula.subject } }
    const approval = await held([{ ...requirement(), reviewers: [manager] }])
    expect(await vote(approval, dan)).toMatchObject({ approval: { state: 'approved' } })
    expect(await spend(approval)).toBe('spent')
  })

  it('is given no group, no override and no grant', async () => {
    const { paula, dan } = await cast()
    await delegated(person(paula.subject), dan)
    expect(await vote(await held(), dan)).toMatchObject({ fault: 'not_entitled' })
    const grant = { mostMs: DAY_MS, mostUses: 9, covers: 'rule', ruleHash: 'a'.repeat(64) } as const
    const approval = await held([{ ...naming(paula), override: named(paula).map(selector), grant }])
    const yes = { isOverride: true, reason: 'Now.' }
    expect(await vote(approval, dan, yes)).toMatchObject({ fault: 'override_not_permitted' })
    const ask = { minutes: 5, uses: 1, covers: 'call' } as const
    expect(await vote(approval, dan, { grant: ask })).toMatchObject({ fault: 'grant_not_permitted' })
  })

  it('hands nothing on', async () => {
    const { paula, dan, eve } = await cast()
    await delegated(paula, dan)
    await delegated(dan, eve)
    const approval = await held([naming(paula)])
    expect(await vote(approval, eve)).toMatchObject({ fault: 'not_entitled' })
    expect(await vote(await held([naming(dan)]), eve)).toMatchObject({ approval: { state: 'approved' } })
  })

  it('is not on the requesting side, and neither is whoever is away', async () => {
    const { paula, dan, eve } = await cast()
    await delegated(paula, dan)
    for (const side of [paula, dan]) {
      const { issuer, subject } = side
      for (const requester of [
        { owner: { issuer, subject } },
        { onBehalfOf: { issuer, subject } },
        { actors: [{ issuer, subject }] },
      ]) {
        const approval = await held([naming(paula, eve)], requester)
        expect(await vote(approval, dan)).toMatchObject({ counted: false })
        expect((await vote(approval, dan)).counted).toBe(false)
        const shown = await one.queue.findFor(dan, approval.id)
        expect(shown ?? {}).not.toHaveProperty('standsFor')
      }
    }
  })

  it('does not count where whoever is away is excluded', async () => {
    const { paula, dan } = await cast()
    await delegated(person(paula.subject, [{ issuerName: 'corp', name: 'contractors' }]), dan)
    const exclude = [selector('group:contractors')]
    expect(await vote(await held([{ ...naming(paula), exclude }]), dan)).toMatchObject({ fault: 'not_entitled' })
    const self = named(dan).map(selector)
    expect(await vote(await held([{ ...naming(paula), exclude: self }]), dan)).toMatchObject({ fault: 'not_entitled' })
  })

  it('and whoever they stand in for are never two', async () => {
    const { paula, dan, eve, quinn } = await cast()
    const first = await delegated(paula, dan)
    const both = { ...naming(paula, dan), quorum: 2 }
    const alone = await held([both])
    expect(await vote(alone, dan)).toMatchObject({ approval: { state: 'pending' } })
    const twice = await held([{ ...naming(paula, quinn), quorum: 2 }])
    await vote(twice, dan)
    expect(await vote(twice, paula)).toMatchObject({ approval: { state: 'pending' } })
    expect(await vote(twice, quinn)).toMatchObject({ approval: { state: 'approved' } })
    expect(await spend(twice)).toBe('spent')
    // Nor are two who stood in for the same one.
    const later = await held([{ ...naming(paula, quinn), quorum: 2 }])
    await vote(later, dan)
    await one.queue.delegations.end({ id: first, by: paula, via: 'console' })
    await delegated(paula, eve)
    expect(await vote(later, eve)).toMatchObject({ approval: { state: 'pending' } })
  })

  it('who is named is one person, for whomever they stand in', async () => {
    const { paula, dan, quinn } = await cast()
    await delegated(paula, dan)
    await delegated(quinn, dan)
    const approval = await held([naming(paula), naming(quinn)])
    expect(await vote(approval, dan)).toMatchObject({ approval: { state: 'pending' } })
    expect(await vote(approval, quinn)).toMatchObject({ approval: { state: 'approved' } })
    expect(await spend(approval)).toBe('spent')
  })

  it('has nobody to stand in for where whoever is away has voted', async () => {
    const { paula, dan, quinn } = await cast()
    await delegated(paula, dan)
    const approval = await held([{ ...naming(paula, quinn), quorum: 2 }])
    await vote(approval, paula)
    expect(await vote(approval, dan)).toMatchObject({ fault: 'not_entitled' })
    expect(await one.queue.findFor(dan, approval.id)).toBeNull()
    expect((await one.queue.list(dan, { ballot: 'open' })).map((each) => each.id)).not.toContain(approval.id)
  })

  it('speaks for nobody who has spoken: a no of whoever is away takes the yes back', async () => {
    const { paula, dan } = await cast()
    await delegated(paula, dan)
    const approval = await held([{ ...naming(paula), denyQuorum: 2 }])
    expect(await vote(approval, dan)).toMatchObject({ approval: { state: 'approved' } })
    expect(await vote(approval, paula, { decision: 'deny' })).toMatchObject({ approval: { state: 'denied' } })
  })
})

describe('what a delegate approved is not forwarded', () => {
  it('once it was ended, by whoever is away or by an admin', async () => {
    for (const role of ['paula', 'admin'] as const) {
      const { paula, dan } = await cast()
      const id = await delegated(paula, dan)
      const approval = await held([naming(paula)])
      await vote(approval, dan)
      const by = role === 'paula' ? paula : person('root', [], ['admin'])
      expect(await two.queue.delegations.end({ id, by, via: 'console' })).toBe(true)
      expect(await spend(approval)).toBe('withdrawn')
      expect(await vote(await held([naming(paula)]), dan)).toMatchObject({ fault: 'not_entitled' })
    }
  })

  it('while whoever is away is suspended', async () => {
    const { paula, dan } = await cast()
    await delegated(paula, dan)
    const approval = await held([naming(paula)])
    await vote(approval, dan)
    await world.store.database.query('SELECT suspend_agent($1, $2, $1, $3, $4)', [
      paula.issuer,
      paula.subject,
      'root',
      'looked at',
    ])
    expect(await spend(approval)).toBe('withdrawn')
    expect(await vote(await held([naming(paula)]), dan)).toMatchObject({ fault: 'not_entitled' })
    expect(await one.queue.delegations.absentees(dan)).toEqual([])
  })

  it('if whoever is away may not act any more, or the delegate', async () => {
    for (const role of ['paula', 'dan'] as const) {
      const people = await cast()
      await delegated(people.paula, people.dan)
      const approval = await held([naming(people.paula)])
      await vote(approval, people.dan)
      gone.add(people[role].subject)
      expect(await spend(approval)).toBe('withdrawn')
    }
  })

  it('by a delegation that somebody wrote into the store, or altered', async () => {
    const { paula, dan, eve } = await cast()
    const id = await delegated(paula, dan)
    const voted = await held([naming(paula)])
    await vote(voted, dan)
    const rewrite = (set: string) =>
      world.asSuperuser(
        'ALTER TABLE countersign.delegation DISABLE TRIGGER guard',
        `UPDATE countersign.delegation SET ${set} WHERE id = '${id}'`,
        'ALTER TABLE countersign.delegation ENABLE ALWAYS TRIGGER guard',
      )
    await rewrite(`delegate_subject = '${eve.subject}'`)
    expect(await vote(await held([naming(paula)]), eve)).toMatchObject({ fault: 'not_entitled' })
    expect(await one.queue.delegations.list(eve)).toEqual([])
    expect(await spend(voted)).toBe('withdrawn')
    expect(await world.stateOf(voted.id)).toBe('withdrawn')
    await rewrite(`delegate_subject = '${dan.subject}', until = until + interval '1 day'`)
    expect(await vote(await held([naming(paula)]), dan)).toMatchObject({ fault: 'not_entitled' })
    // One that is dropped from a vote's words, or put into another's, breaks the vote's own seal.
  })

  it('by an end that was undone in the store of the replica that made it', async () => {
    const { paula, dan } = await cast()
    const id = await delegated(paula, dan)
    await one.queue.delegations.end({ id, by: paula, via: 'console' })
    await world.asSuperuser(
      'ALTER TABLE countersign.delegation DISABLE TRIGGER guard',
      `UPDATE countersign.delegation SET ended_at = NULL WHERE id = '${id}'`,
      'ALTER TABLE countersign.delegation ENABLE ALWAYS TRIGGER guard',
    )
    expect(await vote(await held([naming(paula)]), dan)).toMatchObject({ fault: 'not_entitled' })
  })
})

describe('a delegation', () => {
  it('is made by whoever is away, to somebody who is known, for a bounded time, one at a time', async () => {
    const { paula, dan, eve } = await cast()
    const now = Date.now()
    expect(await delegate(paula, paula)).toEqual({ fault: 'oneself' })
    expect(await delegate(paula, person('stranger'))).toEqual({ fault: 'not_known' })
    expect(await delegate(paula, { ...dan, issuer: 'https://other.example' })).toEqual({ fault: 'not_known' })
    for (const period of [
      { until: now - 1 },
      { from: now + DAY_MS, until: now + DAY_MS },
      { until: now + 31 * DAY_MS },
      { from: now + 91 * DAY_MS, until: now + 92 * DAY_MS },
      { until: Number.NaN },
    ]) {
      expect(await delegate(paula, dan, period), JSON.stringify(period)).toEqual({ fault: 'bad_period' })
    }
    expect(await delegate(paula, dan)).toMatchObject({
      delegation: { delegate: { subject: dan.subject, name: dan.name } },
    })
    expect(await delegate(paula, eve)).toEqual({ fault: 'already_delegated' })
    const [listed, ...more] = await two.queue.delegations.list(paula)
    expect(listed).toMatchObject({ person: { subject: paula.subject } })
    expect(more).toEqual([])
    expect(await two.queue.delegations.list(dan)).toEqual([listed])
    expect(await two.queue.delegations.list(eve)).toEqual([])
    const { rows } = await world.store.database.query<{ body: string }>(
      `SELECT convert_from(body, 'UTF8') AS body FROM audit_entry WHERE kind = 'delegated' ORDER BY seq DESC LIMIT 1`,
    )
    expect(JSON.parse(rows[0]?.body ?? '')).toMatchObject({ detail: { delegation: listed?.id, via: 'console' } })
    expect(rows[0]?.body).not.toContain('paula')
  })

  it('of several made at one moment is one', async () => {
    const { paula, dan, eve } = await cast()
    const made = await Promise.all([dan, eve, dan, eve].map((to) => delegate(paula, to)))
    expect(made.filter((each) => 'delegation' in each)).toHaveLength(1)
  })

  it('is ended by whoever made it and by admins, and by nobody else, once', async () => {
    const { paula, dan, eve } = await cast()
    const id = await delegated(paula, dan)
    for (const by of [dan, eve, person('aud', [], ['auditor', 'operator'])]) {
      expect(await one.queue.delegations.end({ id, by, via: 'console' })).toBe(false)
    }
    expect(await one.queue.delegations.end({ id, by: paula, via: 'console' })).toBe(true)
    expect(await one.queue.delegations.end({ id, by: paula, via: 'console' })).toBe(false)
    expect(await one.queue.delegations.end({ id: '0000000000', by: paula, via: 'console' })).toBe(false)
    const { rows } = await world.store.database.query(
      `SELECT FROM audit_entry WHERE kind = 'delegation_ended' AND convert_from(body, 'UTF8') LIKE $1`,
      [`%${id}%`],
    )
    expect(rows).toHaveLength(1)
    expect(await delegate(paula, eve)).toHaveProperty('delegation')
  })

  it('that begins later counts from then on', async () => {
    const { paula, dan } = await cast()
    await delegate(paula, dan, { from: Date.now() + DAY_MS, until: Date.now() + 2 * DAY_MS })
    const approval = await held([naming(paula)])
    expect(await vote(approval, dan)).toMatchObject({ fault: 'not_entitled' })
    expect(await one.queue.findFor(dan, approval.id)).toBeNull()
  })

  it('is never altered or removed by the gateway’s own role', async () => {
    const { paula, dan } = await cast()
    const id = await delegated(paula, dan)
    for (const statement of [
      `UPDATE delegation SET until = until + interval '1 day' WHERE id = '${id}'`,
      `UPDATE delegation SET delegate_subject = 'x' WHERE id = '${id}'`,
      `DELETE FROM delegation WHERE id = '${id}'`,
    ]) {
      await expect(one.database.query(statement), statement).rejects.toThrow()
    }
  })

  it('knows those who have voted, without whoever asks', async () => {
    const { paula, dan } = await cast()
    const known = await one.queue.delegations.known(paula)
    expect(known).toContainEqual({ ...party(dan.subject), name: dan.name })
    expect(known.map(({ subject }) => subject)).not.toContain(paula.subject)
  })

  it('is none in a store of the release before', async () => {
    const older = await openWorld({ schema: 10 })
    try {
      const { queue } = older.openReplica()
      expect(await queue.delegations.list(null)).toEqual([])
      expect(await queue.delegations.known(person('a'))).toEqual([])
      expect(await queue.delegations.absentees(person('a'))).toEqual([])
      await expect(queue.delegations.end({ id: '0000000000', by: person('a'), via: 'console' })).rejects.toThrow(
        'schema',
      )
    } finally {
      await older.close()
    }
  })
})
