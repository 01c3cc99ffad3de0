import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isDenied, meetsAll } from '../../src/approvals/quorum.ts'
import { castsOf, supporters, type VoteRow } from '../../src/approvals/votes.ts'
import type { Group, Person } from '../../src/domain/principal.ts'
import { matchesSelector } from '../../src/domain/selector.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { agent, party, person, requirement, selector } from './parts.ts'

const inGroups = (subject: string, ...names: string[]): Person =>
  person(
    subject,
    names.map((name): Group => ({ issuerName: 'corp', name })),
  )

const OPENED = new Date('2026-03-02T09:00:00Z')

/** Everybody votes so many minutes after the opening. */
const votesOf = (people: readonly Person[], minutes = 1) =>
  people.map((one) => ({ ...one, at: new Date(OPENED.getTime() + minutes * 60_000) }))

describe('a quorum', () => {
  it.each([
    ['one of one', [requirement()], [inGroups('a', 'finance')], true],
    ['nobody', [requirement()], [], false],
    ['somebody else', [requirement()], [inGroups('a', 'sales')], false],
    ['one of two', [requirement({ quorum: 2 })], [inGroups('a', 'finance')], false],
    ['two of two', [requirement({ quorum: 2 })], [inGroups('a', 'finance'), inGroups('b', 'finance')], true],
    [
      'one person in both groups counts once',
      [requirement(), requirement({ reviewers: ['group:security'] })],
      [inGroups('a', 'finance', 'security')],
      false,
    ],
    [
      'two people, the first of whom could take the only place of the second',
      [requirement(), requirement({ reviewers: ['group:security'] })],
      [inGroups('a', 'finance', 'security'), inGroups('b', 'finance')],
      true,
    ],
    [
      'the group of another issuer',
      [requirement({ reviewers: ['group:okta/finance'] })],
      [inGroups('a', 'finance')],
      false,
    ],
    ['anybody', [requirement({ reviewers: ['*'] })], [inGroups('a')], true],
    ['nothing is asked for', [], [], true],
  ])('%s', (_name, requirements, people, isMet) => {
    expect(meetsAll({ requirements, openedAt: OPENED }, votesOf(people))).toBe(isMet)
  })

  it('is met exactly when people can be dealt out to all places, in whatever order they voted', () => {
    const groups = ['a', 'b', 'c']
    fc.assert(
      fc.property(
        fc.array(fc.record({ groups: fc.subarray(groups, { minLength: 1 }), quorum: fc.integer({ min: 1, max: 2 }) }), {
          maxLength: 3,
        }),
        fc.array(fc.subarray(groups), { maxLength: 5 }),
        (rules, members) => {
          const requirements = rules.map((one) =>
            requirement({ reviewers: one.groups.map((name) => `group:${name}`), quorum: one.quorum }),
          )
          const people = members.map((names, index) => inGroups(`p${index}`, ...names))
          const asked = { requirements, openedAt: OPENED }
          expect(meetsAll(asked, votesOf(people))).toBe(canDeal(requirements, people))
          expect(meetsAll(asked, votesOf(people.toReversed()))).toBe(canDeal(requirements, people))
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('whose vote counts', () => {
  const [rita, rolf, mona] = [
    inGroups('rita', 'finance', 'contractors'),
    inGroups('rolf', 'finance'),
    inGroups('mona', 'managers'),
  ]
  const asked = (more: Parameters<typeof requirement>[0]) => ({ requirements: [requirement(more)], openedAt: OPENED })

  it('is not the vote of somebody excluded', () => {
    const excluding = asked({ exclude: [selector('group:contractors')] })
    expect(meetsAll(excluding, votesOf([rita]))).toBe(false)
    expect(meetsAll(excluding, votesOf([rita, rolf]))).toBe(true)
    expect(isDenied(excluding, votesOf([rita]))).toBe(false)
  })

  it('is that of whom it escalates to, from then on', () => {
    const escalating = asked({ escalate: { afterMs: 600_000, to: [selector('group:managers')] } })
    expect(meetsAll(escalating, votesOf([mona], 9))).toBe(false)
    expect(meetsAll(escalating, votesOf([mona], 10))).toBe(true)
    expect(isDenied(escalating, votesOf([mona], 9))).toBe(false)
    expect(isDenied(escalating, votesOf([mona], 10))).toBe(true)
  })

  it('is not that of somebody excluded to whom it escalates', () => {
    const both = asked({
      exclude: [selector('group:managers')],
      escalate: { afterMs: 1, to: [selector('group:managers')] },
    })
    expect(meetsAll(both, votesOf([mona], 9))).toBe(false)
  })

  it('is a yes within the hours, and a no at any', () => {
    // 10:00 in Berlin is 09:00 UTC in winter.
    const mornings = asked({ hours: { days: [1], from: 480, to: 602, zone: 'Europe/Berlin' } })
    expect(meetsAll(mornings, votesOf([rolf], 1))).toBe(true)
    expect(meetsAll(mornings, votesOf([rolf], 2))).toBe(false)
    expect(isDenied(mornings, votesOf([rolf], 2))).toBe(true)
  })

  it('is that of the manager once it is known who that is', () => {
    const manager = (subject: string | null) => ({
      requirements: [
        {
          ...requirement(),
          reviewers: [{ kind: 'manager' as const, party: subject === null ? null : party(subject) }],
        },
      ],
      openedAt: OPENED,
    })
    expect(meetsAll(manager('mona'), votesOf([mona]))).toBe(true)
    expect(meetsAll(manager('rolf'), votesOf([mona]))).toBe(false)
    expect(meetsAll(manager(null), votesOf([mona]))).toBe(false)
  })

  it('denies with as many as the rule says', () => {
    const two = asked({ denyQuorum: 2 })
    expect(isDenied(two, votesOf([rita]))).toBe(false)
    expect(isDenied(two, votesOf([rita, mona]))).toBe(false)
    expect(isDenied(two, votesOf([rita, rolf]))).toBe(true)
  })
})

/** Tries everything. */
function canDeal(requirements: readonly Requirement[], people: readonly Person[]): boolean {
  const [place, ...others] = requirements.flatMap((one) =>
    Array.from({ length: one.quorum }, () => ({ ...one, quorum: 1 })),
  )
  if (!place) return true
  return people.some(
    (candidate) =>
      place.reviewers.some((selector) => matchesSelector(selector, candidate)) &&
      canDeal(
        others,
        people.filter((other) => other !== candidate),
      ),
  )
}

describe('people who stand in for others', () => {
  const NAMES = ['a', 'b', 'c', 'd'] as const
  type Name = (typeof NAMES)[number]
  interface Cast {
    readonly who: Name
    readonly standsFor: Name | null
    readonly isFinance: boolean
  }
  const requester = agent('agent-7', { owner: party('d') })

  /** By hand: every way to deal people out, with each of them, and each whom they stand in for, in one place at most. */
  function canDeal(places: readonly (Name | 'finance')[], casts: readonly Cast[], all = casts): boolean {
    const [first, ...rest] = places
    if (first === undefined) return true
    return casts.some((one) => {
      const others = casts.filter((other) => other !== one)
      if (one.who === 'd') return false
      const isOwn = first === 'finance' ? one.isFinance : one.who === first
      if (isOwn && canDeal(rest, others, all)) return true
      const isFree = one.standsFor === first && first !== 'd' && !all.some(({ who }) => who === first)
      const isFirst = all.find(({ standsFor }) => standsFor === first) === one
      return isFree && isFirst && canDeal(rest, others, all)
    })
  }

  it('are one pair of eyes, in place of one who has not spoken and is not on the requesting side', () => {
    let met = 0
    const casts = fc.uniqueArray(
      fc.record({
        who: fc.constantFrom(...NAMES),
        standsFor: fc.option(fc.constantFrom(...NAMES)),
        isFinance: fc.boolean(),
      }),
      { selector: ({ who }) => who, maxLength: 4 },
    )
    const asked = fc.array(fc.constantFrom(...NAMES, 'finance' as const), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(casts, asked, (some, places) => {
        const given = some.filter(({ who, standsFor }) => who !== standsFor)
        const requirements = places.map((place) =>
          requirement({ reviewers: [place === 'finance' ? 'group:finance' : `${party(place).issuer}|${place}`] }),
        )
        const votes = given.map((one, index) => voteOf(one, index))
        const isMet = meetsAll(
          { requirements, openedAt: OPENED },
          supporters({ requester }, castsOf({ requester }, votes)),
        )
        expect(isMet).toBe(canDeal(places, given))
        met += isMet ? 1 : 0
      }),
      { numRuns: 2000 },
    )
    expect(met).toBeGreaterThan(100)
  })

  function voteOf({ who, standsFor, isFinance }: Cast, index: number): VoteRow {
    const { authenticatedAt, ...voter } = person(who, isFinance ? [{ issuerName: 'corp', name: 'finance' }] : [])
    const mac = Buffer.alloc(32, index)
    const common = { ...voter, authenticated_at: authenticatedAt, kid: 'k', mac }
    const begins = { made_at: OPENED, begins_at: OPENED, until: OPENED, ended_at: null, id: 'D' }
    const delegate = { delegate_issuer: voter.issuer, delegate_subject: who, delegate_name: null }
    return {
      ...common,
      ...(standsFor && { delegation: { ...common, ...party(standsFor), groups: [], ...begins, ...delegate } }),
      approval: 'A',
      decision: 'approve',
      reason: null,
      via: 'api',
      card_hash: mac,
      at: new Date(OPENED.getTime() + index),
    }
  }
})
