import { describe, expect, it } from 'vitest'
import { approvalBody } from '../../src/control/console/approval.ts'
import { waitsFor } from '../../src/control/console/inbox.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Need } from '../../src/domain/card.ts'
import type { Person } from '../../src/domain/principal.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { agent, person, requirement, selector } from '../approvals/parts.ts'
import { makeApproval, makeCard } from '../channels/slack/samples.ts'

/** A Monday. */
const OPENED = Date.UTC(2026, 2, 2, 9)
const OFFICE = { days: [1, 2, 3, 4, 5], from: 480, to: 1080, zone: 'UTC' }
const mona = person('mona', [{ issuerName: 'corp', name: 'managers' }])
const rita = person('rita')

function approvalOf(asked: Requirement, more: Partial<Approval> = {}): Approval {
  return makeApproval({ requester: agent(), createdAt: OPENED, requirements: [asked], ...more })
}

function pageOf(approval: Approval, who: Person, { minutes = 1, needed = [] as Need[] } = {}): string {
  const view = { card: makeCard({ needed }), call: null, csrf: 'c', fault: null, reason: '', recent: [] }
  return String(approvalBody({ ...view, approval, person: who, nowMs: OPENED + minutes * 60_000 }))
}

describe('the page of an approval', () => {
  it('says in words what is needed', () => {
    const needed = [
      {
        reviewers: ['manager (https://idp.example.com|mona)'],
        quorum: 2,
        isReasonRequired: true,
        exclude: ['group:<b>contractors'],
        escalate: { at: OPENED + 600_000, to: ['group:managers'] },
      },
    ]
    const page = pageOf(approvalOf(requirement()), rita, { needed })
    expect(page).toContain('2 of manager (https://idp.example.com|mona); not group:&lt;b&gt;contractors; with a reason')
    expect(page).toContain('from 2026-03-02 09:10 UTC also group:managers')
  })

  it('says why there is no grant where a breaker held the agent, to those who may approve', () => {
    const barred = approvalOf(requirement({ breaker: 'bars_grant' }))
    expect(pageOf(barred, rita)).toContain('a circuit breaker held the agent')
    expect(pageOf(approvalOf(requirement()), rita)).not.toContain('circuit breaker')
    expect(pageOf({ ...barred, state: 'approved' }, rita)).not.toContain('circuit breaker')
  })

  it('leads from its agent to the form that stops it', () => {
    const requester = { ...agent(), subject: 'support agent&subject=other' }
    const page = pageOf(approvalOf(requirement(), { requester }), { ...rita, roles: ['reviewer'] })
    const [, href = ''] = /href="([^"]*)">Stop this agent</.exec(page) ?? []
    const url = new URL(href.replaceAll('&amp;', '&'), 'http://localhost')
    expect([url.pathname, url.hash]).toEqual(['/agents', '#stop'])
    expect([...url.searchParams]).toEqual([
      ['issuer', requester.issuer],
      ['subject', requester.subject],
    ])
    expect(pageOf(approvalOf(requirement()), { ...rita, roles: ['auditor'] })).not.toContain('Stop this agent')
  })

  it('offers Approve only at the hours of its rule, and Deny at any', () => {
    const approval = approvalOf(requirement({ hours: OFFICE }))
    expect(pageOf(approval, rita)).toContain('class="approve"')
    const late = pageOf(approval, rita, { minutes: 600 })
    expect(late).not.toContain('class="approve"')
    expect(late).toContain('at other hours only')
    expect(late).toContain('class="deny"')
  })

  it('offers them to others once it escalates, and it waits for them then', () => {
    const approval = approvalOf(requirement({ escalate: { afterMs: 600_000, to: [selector('group:managers')] } }))
    expect(pageOf(approval, mona, { minutes: 9 })).not.toContain('class="deny"')
    expect(pageOf(approval, mona, { minutes: 10 })).toContain('class="approve"')
    expect(waitsFor(approval, mona, { nowMs: OPENED + 9 * 60_000, absentees: [] })).toBe(false)
    expect(waitsFor(approval, mona, { nowMs: OPENED + 10 * 60_000, absentees: [] })).toBe(true)
  })

  it('offers nothing to whom the rule excludes, and no Approve to who has denied', () => {
    const excluding = approvalOf(requirement({ exclude: [selector('group:finance')] }))
    expect(pageOf(excluding, rita)).not.toContain('<button')
    const vote = { reviewer: rita, decision: 'deny' as const, reason: null, via: 'api', at: OPENED }
    const denied = pageOf(approvalOf(requirement({ denyQuorum: 2 }), { votes: [vote] }), rita)
    expect(denied).not.toContain('class="approve"')
    expect(denied).toContain('You have denied it')
  })
})
