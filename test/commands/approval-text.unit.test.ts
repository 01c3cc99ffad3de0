import { describe, expect, it } from 'vitest'
import { formatShown } from '../../src/commands/approval-text.ts'
import { approvalSchema } from '../../src/control/wire.ts'
import { writeApproval } from '../../src/control/write.ts'
import { party, requirement, selector } from '../approvals/parts.ts'
import { makeApproval } from '../channels/slack/samples.ts'

const OPENED = Date.UTC(2026, 2, 2, 9)

describe('what is needed', () => {
  const asked = {
    ...requirement({
      quorum: 2,
      exclude: [selector('group:contractors')],
      denyQuorum: 2,
      hours: { days: [1, 2, 3, 4, 5], from: 480, to: 1080, zone: 'Europe/Berlin' },
      remindMs: [300_000],
      escalate: { afterMs: 600_000, to: [selector('group:managers')] },
    }),
    reviewers: [selector('group:finance'), { kind: 'manager' as const, party: party('mona') }],
  }
  const wire = writeApproval(makeApproval({ createdAt: OPENED, requirements: [asked] }))

  it('travels as documented', () => {
    expect(approvalSchema.parse(wire).requirements).toEqual([
      {
        rule: 'billing/refunds',
        reviewers: ['group:finance', 'https://idp.example.com|mona'],
        quorum: 2,
        reason_required: false,
        exclude: ['group:contractors'],
        deny_quorum: 2,
        hours: 'mon-fri 08:00-18:00 Europe/Berlin',
        remind: ['2026-03-02T09:05:00.000Z'],
        escalate: { at: '2026-03-02T09:10:00.000Z', to: ['group:managers'] },
      },
    ])
  })

  it('is shown in words', () => {
    expect(formatShown({ approval: wire, card: null, call: null, notices: [] }, OPENED)).toContain(
      '  2 of group:finance, https://idp.example.com|mona, for billing/refunds; not group:contractors; ' +
        '2 denials deny it; approvals count mon-fri 08:00-18:00 Europe/Berlin; ' +
        'from 2026-03-02 09:10 UTC also group:managers',
    )
  })
})
