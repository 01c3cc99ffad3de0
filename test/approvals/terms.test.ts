import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Queue } from '../../src/approvals/queue.ts'
import type { Hours } from '../../src/domain/hours.ts'
import type { Group, Person } from '../../src/domain/principal.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { agent, ballot, codeOf, FINANCE, makeCall, party, person, requirement, selector, verdict } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

const CONTRACTORS: Group = { issuerName: 'corp', name: 'contractors' }
const MANAGERS: Group = { issuerName: 'corp', name: 'managers' }
const rita = person('rita')
const rolf = person('rolf')
const cora = person('cora', [FINANCE, CONTRACTORS])
const mona = person('mona', [MANAGERS])

const excluding = requirement({ exclude: [selector('group:contractors')] })
const escalating = (afterMs: number) => requirement({ escalate: { afterMs, to: [selector('group:managers')] } })
const managed = (subject: string): Requirement => ({
  ...requirement(),
  reviewers: [{ kind: 'manager', party: party(subject) }],
})

/** A whole day that is neither today nor near it. */
function closed(): Hours {
  const today = new Date().getUTCDay()
  return { days: [((today + 2) % 7) + 1], from: 0, to: 1440, zone: 'UTC' }
}
const ALWAYS: Hours = { days: [1, 2, 3, 4, 5, 6, 7], from: 0, to: 1440, zone: 'UTC' }

describe('what a requirement may ask for', () => {
  let world: World
  let queue: Queue
  const standing = new Map<string, Person | null>()
  let count = 0
  beforeAll(async () => {
    world = await openWorld()
    const stand = async (voter: Person) => standing.get(voter.subject) ?? voter
    queue = world.openReplica({ standing: stand }).queue
  })
  afterAll(() => world.close())

  async function open(...requirements: Requirement[]) {
    count += 1
    const call = makeCall({ principal: agent(`terms-${count}`) })
    const of = verdict(requirements)
    const approval = await hold(queue, call, of)
    return {
      approval,
      vote: (who: Person, decision: 'approve' | 'deny' = 'approve') => queue.vote(ballot(approval, who, { decision })),
      spend: (now = of) => queue.spend(approval, call, { verdict: now, digest: call.sealed.digest }),
    }
  }

  describe('exclude', () => {
    it('takes no vote of those it names', async () => {
      const { vote, approval } = await open(excluding)
      expect(await vote(cora)).toMatchObject({ counted: false, fault: 'not_entitled' })
      expect(await vote(cora, 'deny')).toMatchObject({ counted: false, fault: 'not_entitled' })
      expect(await queue.findFor(cora, approval.id)).toBeNull()
      expect(await vote(rita)).toMatchObject({ counted: true, approval: { state: 'approved' } })
    })

    it('is of its own requirement: for another one they count', async () => {
      const { vote } = await open(excluding, requirement())
      expect(await vote(cora)).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(rita)).toMatchObject({ counted: true, approval: { state: 'approved' } })
    })

    it('holds at release for who is among them by then', async () => {
      const { vote, spend, approval } = await open(excluding)
      const late = person('late')
      await vote(late)
      standing.set('late', { ...late, groups: [FINANCE, CONTRACTORS] })
      expect(codeOf(await spend())).toBe('withdrawn')
      expect(await queue.findFor(rita, approval.id)).toMatchObject({ approval: { reason: 'reviewers_changed' } })
    })

    it('holds at release as policy says by then', async () => {
      const { vote, spend, approval } = await open(requirement())
      await vote(cora)
      expect(codeOf(await spend(verdict([excluding])))).toBe('withdrawn')
      expect(await queue.findFor(rita, approval.id)).toMatchObject({ approval: { reason: 'policy_changed' } })
    })
  })

  describe('manager', () => {
    it('counts the one person, and shows it to them', async () => {
      const { vote, approval } = await open(managed('mona'))
      expect((await queue.list(mona, {})).map(({ id }) => id)).toContain(approval.id)
      expect(await vote(rita)).toMatchObject({ counted: false, fault: 'not_entitled' })
      expect(await vote(mona)).toMatchObject({ counted: true, approval: { state: 'approved' } })
    })

    it('is the manager still at release', async () => {
      const { vote, spend, approval } = await open(managed('mona'))
      await vote(mona)
      expect(codeOf(await spend(verdict([managed('milo')])))).toBe('withdrawn')
      expect(await queue.findFor(mona, approval.id)).toMatchObject({ approval: { reason: 'policy_changed' } })
    })
  })

  describe('deny_quorum', () => {
    it('denies with the last of so many, who may have said yes before', async () => {
      const { vote } = await open(requirement({ quorum: 3, denyQuorum: 2 }))
      expect(await vote(rita, 'deny')).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(rita, 'deny')).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(rita)).toMatchObject({ counted: false, fault: 'already_denied' })
      await vote(rolf)
      expect(await vote(rolf, 'deny')).toMatchObject({ counted: true, approval: { state: 'denied' } })
    })

    it('does not keep others from approving', async () => {
      const { vote, spend } = await open(requirement({ denyQuorum: 2 }))
      await vote(rita, 'deny')
      expect(await vote(rolf)).toMatchObject({ counted: true, approval: { state: 'approved' } })
      expect(await spend()).toMatchObject({ state: 'spent' })
    })

    it('ends what was approved when a yes that it needed is taken back', async () => {
      const { vote } = await open(requirement({ denyQuorum: 2 }))
      await vote(rita)
      expect(await vote(rita, 'deny')).toMatchObject({ counted: true, approval: { state: 'denied' } })
    })

    it('leaves what was approved where a no changes nothing', async () => {
      const { vote, spend } = await open(requirement({ denyQuorum: 2 }))
      await vote(rita)
      expect(await vote(rolf, 'deny')).toMatchObject({ counted: true, approval: { state: 'approved' } })
      expect(await spend()).toMatchObject({ state: 'spent' })
    })

    it('is not asked of the requesting side', async () => {
      const { vote } = await open(requirement({ denyQuorum: 2 }))
      expect(await vote(person('olga'), 'deny')).toMatchObject({ counted: true, approval: { state: 'denied' } })
    })

    it('is that of one requirement, by those entitled to it', async () => {
      const { vote } = await open(
        requirement({ denyQuorum: 2 }),
        requirement({ reviewers: ['group:managers'], denyQuorum: 2 }),
      )
      await vote(rita, 'deny')
      expect(await vote(mona, 'deny')).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(rolf, 'deny')).toMatchObject({ counted: true, approval: { state: 'denied' } })
    })

    it('finds a record that somebody put back among the approved', async () => {
      const { vote, spend, approval } = await open(requirement({ denyQuorum: 2 }))
      await vote(rita)
      await vote(rolf, 'deny')
      const other = world.openReplica().queue
      await other.vote(ballot(approval, person('rosa'), { decision: 'deny' }))
      await world.alter(`UPDATE countersign.approval SET state = 'approved' WHERE id = '${approval.id}'`)
      expect(codeOf(await spend())).toBe('withdrawn')
    })
  })

  describe('hours', () => {
    it('take no yes outside, which only that person is told, and a no at any time', async () => {
      const { vote, approval } = await open(requirement({ hours: closed() }))
      expect(await vote(rita)).toMatchObject({ counted: false, fault: 'outside_hours', approval: { state: 'pending' } })
      expect((await world.entriesOf(approval.id)).map(({ kind }) => kind)).toEqual(['held'])
      expect(await vote(rita, 'deny')).toMatchObject({ counted: true, approval: { state: 'denied' } })
    })

    it('take one within', async () => {
      const { vote, spend } = await open(requirement({ hours: ALWAYS }))
      expect(await vote(rita)).toMatchObject({ counted: true, approval: { state: 'approved' } })
      expect(await spend()).toMatchObject({ state: 'spent' })
    })

    it('are those of each requirement', async () => {
      const { vote } = await open(requirement({ hours: closed() }), requirement())
      expect(await vote(rita)).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(rolf)).toMatchObject({ counted: true, approval: { state: 'pending' } })
    })

    it('hold at release as policy says by then', async () => {
      const { vote, spend } = await open(requirement())
      await vote(rita)
      expect(codeOf(await spend(verdict([requirement({ hours: closed() })])))).toBe('withdrawn')
    })
  })

  describe('assurance', () => {
    const fresh = requirement({ assurance: { kind: 'fresh', maxAgeMs: 300_000 } })
    const passkey = requirement({ assurance: { kind: 'passkey' } })
    const nowS = () => Math.floor(Date.now() / 1000)
    const signedIn = (subject: string, agoS: number): Person => ({ ...person(subject), authenticatedAt: nowS() - agoS })
    const withPasskey = (subject: string): Person => ({ ...person(subject), assurance: 'passkey' })
    const required = { counted: false, fault: 'assurance_required', approval: { state: 'pending' } }

    it('takes a yes of a fresh sign-in, and tells anybody else alone', async () => {
      const { vote, spend, approval } = await open(fresh)
      for (const who of [
        rita,
        signedIn('rita', 301),
        signedIn('rita', -120),
        { ...person('rita'), authenticatedAt: null },
        { ...signedIn('rita', 1), assurance: 'slack' as const },
      ]) {
        expect(await vote(who)).toMatchObject(required)
      }
      expect((await world.entriesOf(approval.id)).map(({ kind }) => kind)).toEqual(['held'])
      expect(await vote(signedIn('rita', 10))).toMatchObject({ counted: true, approval: { state: 'approved' } })
      expect(await spend()).toMatchObject({ state: 'spent' })
    })

    it('takes a yes by a passkey, and no other, whatever the sign-in', async () => {
      const { vote, spend } = await open(passkey)
      expect(await vote(signedIn('rita', 1))).toMatchObject(required)
      expect(await vote(withPasskey('rita'))).toMatchObject({ counted: true, approval: { state: 'approved' } })
      expect(await spend()).toMatchObject({ state: 'spent' })
    })

    it('takes a passkey for a fresh sign-in', async () => {
      const { vote } = await open(fresh)
      expect(await vote(withPasskey('rita'))).toMatchObject({ counted: true, approval: { state: 'approved' } })
    })

    it('takes a no of anybody who is entitled', async () => {
      const { vote } = await open(passkey)
      expect(await vote(rita, 'deny')).toMatchObject({ counted: true, approval: { state: 'denied' } })
    })

    it('is that of each requirement', async () => {
      const { vote } = await open(fresh, requirement())
      expect(await vote(rita)).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(rolf)).toMatchObject({ counted: true, approval: { state: 'pending' } })
      expect(await vote(signedIn('rosa', 1))).toMatchObject({ counted: true, approval: { state: 'approved' } })
    })

    it('holds at release as policy says by then', async () => {
      const { vote, spend, approval } = await open(requirement())
      await vote(rita)
      expect(codeOf(await spend(verdict([passkey])))).toBe('withdrawn')
      expect(await queue.findFor(rita, approval.id)).toMatchObject({ approval: { reason: 'policy_changed' } })
    })

    it('is not what somebody writes into the votes', async () => {
      const { vote, spend, approval } = await open(passkey, requirement())
      await vote(rita)
      await vote(rolf)
      await world.alter(`UPDATE countersign.vote SET assurance = 'passkey' WHERE approval = '${approval.id}'`)
      await world.alter(
        `UPDATE countersign.approval SET state = 'approved', decided_at = now(), use_by = now() + interval '1 minute'
         WHERE id = '${approval.id}'`,
      )
      expect(codeOf(await spend())).toBe('withdrawn')
    })
  })

  describe('escalate', () => {
    it('is open to those others only from then on', async () => {
      const { vote, approval } = await open(escalating(600_000))
      expect(await vote(mona)).toMatchObject({ counted: false, fault: 'not_entitled' })
      expect(await queue.findFor(mona, approval.id)).toBeNull()
      expect((await queue.list(mona, {})).map(({ id }) => id)).not.toContain(approval.id)
    })

    it('counts their votes then, at release too', async () => {
      const { vote, approval, spend } = await open(escalating(1))
      expect((await queue.list(mona, {})).map(({ id }) => id)).toContain(approval.id)
      expect(await vote(mona)).toMatchObject({ counted: true, approval: { state: 'approved' } })
      const [, entry] = await world.entriesOf(approval.id)
      expect(entry?.body).toMatchObject({ kind: 'vote', reviewer_group: 'group:managers' })
      expect(await spend()).toMatchObject({ state: 'spent' })
    })

    it('holds at release as policy says by then', async () => {
      const { vote, spend } = await open(escalating(1))
      await vote(mona)
      expect(codeOf(await spend(verdict([escalating(600_000)])))).toBe('withdrawn')
    })

    it('cannot be brought forward in the database', async () => {
      const { vote, approval } = await open(escalating(600_000))
      await world.alter(
        `UPDATE countersign.approval SET requirements = jsonb_set(requirements, '{0,escalate,afterMs}', '1')
         WHERE id = '${approval.id}'`,
      )
      expect(await vote(mona)).toMatchObject({ counted: false, fault: 'already_decided' })
      expect(await world.stateOf(approval.id)).toBe('withdrawn')
    })
  })
})
