import type { LogEntry } from '../../audit/entries.ts'

/** An entry's columns under the names of the view, but for its body: as `docs/audit.md` lists them. */
export function columnsOf(entry: LogEntry): readonly (readonly [string, string | number | null])[] {
  return [
    ['seq', entry.seq],
    ['at', new Date(entry.at).toISOString()],
    ['kind', entry.kind],
    ['call_id', entry.callId],
    ['approval_id', entry.approvalId],
    ['issuer', entry.issuer],
    ['subject', entry.subject],
    ['on_behalf_of', entry.onBehalfOf],
    ['owner', entry.owner],
    ['model', entry.model],
    ['upstream', entry.upstream],
    ['verb', entry.verb],
    ['resource', entry.resource],
    ['effect', entry.effect],
    ['rule', entry.rule],
    ['policy_version', entry.policyVersion],
    ['reviewer', entry.reviewer],
    ['reviewer_group', entry.reviewerGroup],
    ['outcome', entry.outcome],
    ['leaf_hash', entry.leafHash.toString('hex')],
    ['prev_hash', entry.prevHash?.toString('hex') ?? null],
    ['hash', entry.hash.toString('hex')],
  ]
}
