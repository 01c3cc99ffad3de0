import { describe, expect, it } from 'vitest'
import { type ApprovalFacts, type ApprovalRow, isGenuine, signApproval } from '../../src/approvals/row.ts'
import { canonicalJson } from '../../src/domain/canonical.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { computeMac } from '../../src/platform/keys.ts'
import { agent, requirement, secretKeys, selector, sha256 } from './parts.ts'

const keys = secretKeys('k1')

function factsOf(requirements: readonly Requirement[]): ApprovalFacts {
  const at = new Date('2026-03-02T09:00:00Z')
  return {
    id: '7Q3F000000',
    call_id: 'call',
    principal_key: sha256('principal'),
    requester: agent(),
    upstream: 'billing',
    verb: 'POST',
    resource: '/refunds',
    rules: [],
    requirements,
    match_key: sha256('match'),
    digest: sha256('digest'),
    card_hash: sha256('card'),
    use_within_ms: 1000,
    created_at: at,
    expires_at: new Date(at.getTime() + 1000),
  }
}

const rowOf = (facts: ApprovalFacts, signature = signApproval(keys, facts)) =>
  ({ ...facts, ...signature }) as ApprovalRow

/** As the first release signs and reads every record. */
function signFirst(facts: ApprovalFacts) {
  return computeMac(keys, 'countersign approval v1', [
    facts.id,
    facts.call_id,
    facts.principal_key,
    canonicalJson(facts.requester),
    facts.upstream,
    facts.verb,
    facts.resource,
    canonicalJson(facts.rules),
    canonicalJson(facts.requirements),
    facts.match_key,
    facts.digest,
    facts.card_hash,
    String(facts.use_within_ms),
    String(facts.created_at.getTime()),
    String(facts.expires_at.getTime()),
  ])
}

const LATER: readonly (readonly [string, Requirement])[] = [
  ['exclude', requirement({ exclude: [selector('group:contractors')] })],
  ['denyQuorum', requirement({ denyQuorum: 2 })],
  ['hours', requirement({ hours: { days: [1], from: 0, to: 60, zone: 'UTC' } })],
  ['remindMs', requirement({ remindMs: [1000] })],
  ['escalate', requirement({ escalate: { afterMs: 1000, to: [selector('*')] } })],
  ['manager', { ...requirement(), reviewers: [{ kind: 'manager', party: null }] }],
]

describe('the record of an approval', () => {
  it('of the release before is read, and one without anything new is read by it', () => {
    const facts = factsOf([requirement()])
    expect(isGenuine(keys, rowOf(facts, signFirst(facts)))).toBe(true)
    expect(signApproval(keys, facts)).toEqual(signFirst(facts))
  })

  it.each(LATER)('with %s is no record to the release before, which would not heed it', (_name, asked) => {
    const facts = factsOf([requirement(), asked])
    expect(isGenuine(keys, rowOf(facts))).toBe(true)
    expect(signApproval(keys, facts)).not.toEqual(signFirst(facts))
    expect(isGenuine(keys, rowOf(facts, signFirst(facts)))).toBe(false)
  })

  it.each(LATER)('is altered when %s is taken out or added', (_name, asked) => {
    const [plain, more] = [factsOf([requirement()]), factsOf([asked])]
    expect(isGenuine(keys, rowOf(plain, signApproval(keys, more)))).toBe(false)
    expect(isGenuine(keys, rowOf(more, signApproval(keys, plain)))).toBe(false)
  })
})
