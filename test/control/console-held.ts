import { encodeCard } from '../../src/approvals/card.ts'
import type { Card } from '../../src/domain/card.ts'
import type { Precedent } from '../../src/domain/precedent.ts'
import { type HeldCall, refund } from './people.ts'

/** What an agent might write wherever it can: ends of elements and attributes, and characters that reorder a line. */
export const HOSTILE = `"'><script>alert(1)</script></pre></textarea></title><img src=x onerror=alert(2)>{"isEscaped":true}\u202e\u2066evil\u0000`

/** A held call that is hostile in every field that an agent, a policy or an identity provider can write. */
export function hostileCall(id: string, issuer: string): HeldCall {
  const text = HOSTILE
  const plain = refund(id)
  const body = Buffer.from(JSON.stringify({ isEscaped: true, callbacks: [], text, [text]: text }))
  const owner = { issuer, subject: text }
  const rule = { policy: text, rule: text }
  const card: Card = {
    ...(plain.card as Card), // A refund has one.
    verified: { agent: text, issuer: text, onBehalfOf: text, owner: text, groups: [text, text] },
    derived: {
      upstream: text,
      labels: { [text]: text },
      actions: [{ verb: text, resource: text }],
      payload: { mediaType: text, bytes: body.length, text: `${body}[redacted]${text}`, isCut: true, redacted: [text] },
      digest: plain.approval.digest,
      rules: [{ name: text, message: text }],
      notes: [text],
    },
    claimed: { reason: text, model: text, prompt: text, conversation: text, trace: text },
    needed: [{ reviewers: ['group:finance', text], quorum: 1, isReasonRequired: false }],
  }
  const reviewer = { issuer: text, subject: text, name: text, groups: [], roles: [], authenticatedAt: null }
  const named = { issuer: text, subject: text, name: text }
  const before: Precedent = {
    approval: id,
    at: 0,
    by: [{ reviewer: named, reason: text, via: text }],
    difference: { extent: 'content', changes: [{ at: text, before: text, now: text }], more: 1, unseen: ['hidden'] },
  }
  const by = { issuer: text, subject: text, name: text }
  return {
    card,
    questions: [{ id: '0000000000', text, by, askedAt: 0, reply: { text, at: 0 } }],
    outcome: null,
    precedents: {
      withinMs: 86_400_000,
      isPartial: true,
      approved: 3,
      identical: 1,
      overridden: 1,
      granted: 1,
      denied: 1,
      approvers: [{ reviewer: named, times: 3 }],
      lastApproved: before,
      lastDenied: before,
    },
    call: { head: { method: text, path: text, query: text, headers: [[text, text]], isEscaped: true }, body },
    approval: {
      ...plain.approval,
      requester: { ...plain.approval.requester, issuer, subject: text, onBehalfOf: { issuer, subject: text }, owner },
      upstream: text,
      verb: text,
      resource: text,
      rules: [rule],
      requirements: plain.approval.requirements.map((one) => ({ ...one, rule })),
      cardHash: encodeCard(card).hash.toString('hex'),
      reason: text,
      claim: { reviewer: named, via: text, at: 0, until: plain.approval.expiresAt },
      votes: [{ reviewer: { ...reviewer, assurance: 'oidc' }, decision: 'approve', reason: text, via: 'api', at: 0 }],
    },
  }
}
