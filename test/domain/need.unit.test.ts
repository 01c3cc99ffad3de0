import { describe, expect, it } from 'vitest'
import { describeTerms } from '../../src/domain/need.ts'

describe('what a requirement asks for, in words', () => {
  it('is nothing more where its rule says nothing more', () => {
    expect(describeTerms({ isReasonRequired: false })).toEqual([])
  })

  it('is all that its rule says', () => {
    expect(
      describeTerms({
        isReasonRequired: true,
        exclude: ['group:contractors', 'https://idp.example.com|frank'],
        denyQuorum: 2,
        hours: 'mon-fri 08:00-18:00 Europe/Berlin',
        escalate: { at: Date.UTC(2026, 2, 2, 9, 10), to: ['group:managers'] },
      }),
    ).toEqual([
      'not group:contractors, https://idp.example.com|frank',
      'with a reason',
      '2 denials deny it',
      'approvals count mon-fri 08:00-18:00 Europe/Berlin',
      'from 2026-03-02 09:10 UTC also group:managers',
    ])
  })

  it.each([
    [{ kind: 'passkey' }, 'with a passkey'],
    [{ kind: 'fresh', maxAgeMs: 300_000 }, 'with a sign-in of the last 5 minutes'],
    [{ kind: 'fresh', maxAgeMs: 60_000 }, 'with a sign-in of the last 1 minute'],
    [{ kind: 'fresh', maxAgeMs: 90_000 }, 'with a sign-in of the last 90 seconds'],
  ] as const)('says how sure one has to be: %o', (assurance, words) => {
    expect(describeTerms({ isReasonRequired: false, assurance })).toEqual([words])
  })
})
