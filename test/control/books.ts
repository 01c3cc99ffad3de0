import { createHash } from 'node:crypto'
import type { LogEntry } from '../../src/audit/entries.ts'
import { openPolicyDesk } from '../../src/commands/policy-desk.ts'
import type { AuditDesk, PolicyDesk } from '../../src/control/desk.ts'
import { writeInForce } from '../../src/policy/in-force.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { CONTEXT, setOf, sourceOf } from '../policy/world.ts'

const hash = (text: string) => createHash('sha256').update(text).digest()

/** A chain of such entries; each says in every column what it is given. */
export function logEntry(seq: number, more: Partial<LogEntry> = {}): LogEntry {
  return {
    seq,
    at: 1_700_000_000_000 + seq,
    kind: 'intent',
    callId: `01a1f933-840d-7755-add4-${String(seq).padStart(12, '0')}`,
    approvalId: null,
    issuer: 'https://idp.example.com',
    subject: 'support-agent',
    onBehalfOf: null,
    owner: null,
    model: null,
    upstream: 'billing',
    verb: 'POST',
    resource: `/refunds/${seq}`,
    effect: 'allow',
    rule: 'billing/writes',
    policyVersion: 1,
    reviewer: null,
    reviewerGroup: null,
    outcome: null,
    body: Buffer.from(JSON.stringify({ kind: 'intent', n: seq })),
    leafHash: hash(`leaf ${seq}`),
    prevHash: hash(`entry ${seq - 1}`),
    hash: hash(`entry ${seq}`),
    ...more,
  }
}

/** An entry that says the same text wherever an agent, a policy or an identity provider can have written. */
export function hostileEntry(seq: number, text: string): LogEntry {
  return logEntry(seq, {
    kind: text,
    approvalId: text,
    issuer: text,
    subject: text,
    onBehalfOf: text,
    owner: text,
    model: text,
    upstream: text,
    verb: text,
    resource: text,
    effect: text,
    rule: text,
    policyVersion: text,
    reviewer: text,
    reviewerGroup: text,
    outcome: text,
    body: Buffer.from(JSON.stringify({ [text]: text, isEscaped: true })),
  })
}

/** A log in memory, which finds by upstream and by nothing else. */
export function fakeAudit(entries: readonly LogEntry[] = [1, 2, 3].map((seq) => logEntry(seq))): AuditDesk {
  const last = entries.at(-1)
  return {
    async find({ upstream }, { before, limit }) {
      const found = entries
        .filter(
          (entry) =>
            (upstream === undefined || entry.upstream === upstream) && entry.seq < (before ?? Number.POSITIVE_INFINITY),
        )
        .toReversed()
      const page = found.slice(0, limit)
      return { entries: page, next: found.length > limit ? (page.at(-1)?.seq ?? null) : null, isCut: false }
    },
    async show(seq) {
      const at = (wanted: number) => entries.find((entry) => entry.seq === wanted) ?? null
      const entry = at(seq)
      const said = entry?.model ?? 'said'
      const meanings = [{ commitment: said, field: said, value: said }]
      return entry && { entry, before: at(seq - 1), after: at(seq + 1), isChained: true, meanings }
    },
    namesOf: async (found) => new Map(found.map(({ seq, model }) => [seq, model ?? 'Finn then'])),
    async chain() {
      const head = { seq: last?.seq ?? 0, hash: last?.hash ?? hash('') }
      return { head, signed: null, verdict: 'unanchored', findings: [], checkedFrom: 1 }
    },
    async *scan({ upstream }, after) {
      yield entries.filter((entry) => entry.seq > after && (upstream === undefined || entry.upstream === upstream))
    },
    async *population(_name, _search, after) {
      yield entries.filter(({ seq }) => seq > after).map(({ seq, resource }) => [seq, resource])
    },
  }
}

/** A refund over 100 is held; what is deleted is denied, which says the text. */
export function fakePolicy(text = 'Refunds are cancelled, never deleted.'): PolicyDesk {
  const policy = JSON.stringify({
    name: 'billing',
    rules: [
      {
        name: 'refunds',
        upstreams: ['billing'],
        verbs: ['POST'],
        when: 'action.facts.body.amount > 100',
        effect: 'hold',
        approval: { reviewers: ['group:finance'] },
      },
      { name: 'writes', upstreams: ['billing'], verbs: ['POST', 'PUT'], effect: 'allow' },
      { name: 'never-delete', upstreams: ['billing'], verbs: ['DELETE'], effect: 'deny', message: text },
      { name: 'scratch', upstreams: ['scratch'], effect: 'allow' },
    ],
  })
  const source = sourceOf(policy)
  if (isProblems(source)) throw new Error('the policy is one')
  const set = { ...setOf(policy), version: 7 }
  const published = { version: 7, hash: set.hash, publishedAt: new Date(1_700_000_000_000), publishedBy: text }
  const inForce = writeInForce(published, source.policies)
  return openPolicyDesk(CONTEXT, { active: () => set, whyNone: () => null, inForce: () => inForce })
}

/** Both; with a text, which must be harmless, wherever somebody may have written one. */
export function fakeBooks(text?: string): { readonly audit: AuditDesk; readonly policy: PolicyDesk } {
  const entries = [logEntry(1), text === undefined ? logEntry(2) : hostileEntry(2, text), logEntry(3)]
  return { audit: fakeAudit(entries), policy: fakePolicy(text?.replaceAll('\0', '')) }
}
