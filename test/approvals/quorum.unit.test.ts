import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { meetsAll } from '../../src/approvals/quorum.ts'
import type { Group, Person } from '../../src/domain/principal.ts'
import { matchesSelector } from '../../src/domain/selector.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { person, requirement } from './parts.ts'

const inGroups = (subject: string, ...names: string[]): Person =>
  person(
    subject,
    names.map((name): Group => ({ issuerName: 'corp', name })),
  )

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
    expect(meetsAll(requirements, people)).toBe(isMet)
  })

  it('is met exactly when people can be dealt out to all places, in whatever order they voted', () => {
    const groups = ['a', 'b', 'c']
    fc.assert(
      fc.property(
        fc.array(fc.record({ groups: fc.subarray(groups, { minLength: 1 }), quorum: fc.integer({ min: 1, max: 2 }) }), {
          maxLength: 3,
        }),
        fc.array(fc.subarray(groups), { maxLength: 5 }),
        (asked, members) => {
          const requirements = asked.map((one) =>
            requirement({ reviewers: one.groups.map((name) => `group:${name}`), quorum: one.quorum }),
          )
          const people = members.map((names, index) => inGroups(`p${index}`, ...names))
          expect(meetsAll(requirements, people)).toBe(canDeal(requirements, people))
          expect(meetsAll(requirements, people.toReversed())).toBe(canDeal(requirements, people))
        },
      ),
      { numRuns: 300 },
    )
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
