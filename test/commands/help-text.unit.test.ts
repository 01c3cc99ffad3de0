import { describe, expect, it } from 'vitest'
import { formatShown } from '../../src/commands/approval-text.ts'
import { fold } from '../../src/commands/fold.ts'
import type { ShownWire } from '../../src/control/wire.ts'
import { writeApproval, writeCall } from '../../src/control/write.ts'
import { refund } from '../control/people.ts'

const { approval, card, call } = refund('7Q3F000000')
const reviewer = { issuer: 'https://idp.example.com', subject: 'rita', name: 'Rita' }
const precedents: NonNullable<ShownWire['precedents']> = {
  within_s: 86_400,
  partial: true,
  approved: 3,
  identical: 1,
  overridden: 1,
  granted: 0,
  denied: 1,
  approvers: [
    { reviewer, times: 3 },
    { reviewer: { ...reviewer, name: null }, times: 1 },
  ],
  last_denied: {
    approval: 'DENIED0001',
    at: '2026-03-02T09:00:00.000Z',
    by: [{ reviewer, reason: 'Not to mallory.', via: 'slack' }],
    difference: { extent: 'attempt', changes: [], more: 0, unseen: ['off_card'] },
  },
  last_approved: {
    approval: 'APPROVED01',
    at: '2026-03-02T10:00:00.000Z',
    by: [{ reviewer, reason: null, via: 'console' }],
    difference: {
      extent: 'content',
      changes: [
        { at: '/amount', before: '12', now: '120' },
        { at: '/note', before: null, now: '' },
      ],
      more: 4,
      unseen: ['hidden'],
    },
  },
}

function textOf(more: Partial<ShownWire> = {}): readonly string[] {
  const shown = { approval: writeApproval(approval), card, outcome: null, call: writeCall(call), notices: [], ...more }
  return formatShown(shown, 0)
}

describe('an approval on a terminal', () => {
  it('says what was decided before, and what differs', () => {
    const lines = textOf({ precedents })
    const from = lines.indexOf('Decided before: the same agent and action, in the last 24 hours')
    expect(lines.slice(from + 1, lines.indexOf('', from))).toEqual([
      '  denied once',
      '  approved 3 times, 1 with the same content',
      '  overridden once',
      '  there were more; the newest are counted',
      '  approved by     Rita (3), rita',
      '  denied last     DENIED0001 at 2026-03-02T09:00:00.000Z',
      '  by              Rita through slack: Not to mallory.',
      '  The same but for what clients make anew for every attempt, which cards do not show.',
      '  Headers that cards do not show, and where the upstream is, are not compared.',
      '  approved last   APPROVED01 at 2026-03-02T10:00:00.000Z',
      '  by              Rita through console',
      '  What differs here:',
      '  field           /amount',
      '    was           12',
      '    is            120',
      '  field           /note',
      '    was           (not there)',
      '    is            (empty)',
      '  … and 4 more that are not listed',
      '  What was replaced as a secret, or cut, on either card could not be compared.',
    ])
    expect(lines.indexOf('Derived from the call: what it would do')).toBeLessThan(from)
    expect(from).toBeLessThan(lines.indexOf('Claimed by the agent: nobody checked it'))
  })

  it('says that nothing was, and nothing at all where a gateway of an earlier release tells nothing', () => {
    const nothing = { ...precedents, approved: 0, denied: 0, overridden: 0, partial: false, approvers: [] }
    const none = textOf({ precedents: { ...nothing, last_approved: null, last_denied: null } })
    expect(none[none.findIndex((line) => line.startsWith('Decided before')) + 1]).toBe('  nothing')
    for (const lines of [textOf(), textOf({ precedents: null })]) {
      expect(lines.join('\n')).not.toContain('Decided before')
    }
  })

  it('says who is looking at it', () => {
    const claim = { reviewer, via: 'slack', at: 1_700_000_000_000, until: 1_700_000_900_000 }
    const lines = textOf({ approval: writeApproval({ ...approval, claim }) })
    expect(lines).toContain(
      '  looked at by    Rita (https://idp.example.com|rita) through slack, until 2023-11-14T22:28:20.000Z',
    )
    expect(textOf().join('\n')).not.toContain('looked at by')
  })

  it('lets nobody begin a line, move the cursor or hide anything, whatever they wrote', () => {
    const text = '\u001b[2J\r\n  approved by     Boss\u202e\u200b'
    const hostile = { issuer: text, subject: text, name: text }
    const last = {
      approval: 'APPROVED01',
      at: '2026-03-02T10:00:00.000Z',
      by: [{ reviewer: hostile, reason: text, via: text }],
      difference: { extent: 'content' as const, changes: [{ at: text, before: text, now: text }], more: 0, unseen: [] },
    }
    const claim = { reviewer: hostile, via: text, at: 0, until: 0 }
    const before = {
      ...precedents,
      approvers: [{ reviewer: hostile, times: 2 }],
      last_denied: last,
      last_approved: last,
    }
    const lines = fold(textOf({ precedents: before, approval: writeApproval({ ...approval, claim }) }), 80)
    expect(lines.join('\n')).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u)
    expect(lines.filter((line) => line.startsWith('  approved by     Boss'))).toEqual([])
  })
})
