import { canonicalJson } from '../domain/canonical.ts'
import type { Entry } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import type { Json } from '../domain/json.ts'
import { formatParty, type Party } from '../domain/principal.ts'
import { capDetail, capText, MAX_BYTES } from './cap.ts'
import type { Commitment, Commitments } from './commitments.ts'

/** The version of the bodies. A reader that does not know it says so instead of guessing. */
const VERSION = 1
const MAX_CLAIMS = 16
const CALL_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
// W3C Trace Context: hexadecimal only, and another one for each call. It names nobody, and stands in the body as it is.
/** A trace id names a request, not a person (W3C Trace Context, section 3.2.2.3): it may stand in the chain as it is. */
const TRACE_ID = /^[0-9a-f]{32}$/

export interface EntryBody {
  /** RFC 8785 JSON: what is chained, byte for byte. */
  readonly text: string
  /** Commitments whose value the store may not have yet. */
  readonly fresh: readonly Commitment[]
}

export interface Stamp {
  /** Which process wrote it, and its how manieth entry it is. */
  readonly writer: string
  readonly n: number
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Written again because it is unknown whether the first time took effect; same writer and n. */
  readonly isRetry: boolean
}

/**
 * Writes an entry as it is chained: every text capped, every name and claim as a commitment.
 * Throws `GatewayError('audit')` if it has no canonical form, or holds a NUL, which Postgres stores nowhere.
 */
export function writeBody(entry: Entry, stamp: Stamp, commitments: Commitments): EntryBody {
  const fresh: Commitment[] = []
  const { principal, claimed, detail } = entry

  function commit(field: string, value: string): string {
    const commitment = commitments.commit(field, plain(value))
    if (!commitment.isStored) fresh.push(commitment)
    return commitment.text
  }
  function party(who: Party | null | undefined): string | undefined {
    return who ? commit('party', capText(formatParty(who), MAX_BYTES.name)) : undefined
  }
  function claim(field: string, value: string | undefined, maxBytes: number): string | undefined {
    return value === undefined ? undefined : commit(field, capText(value, maxBytes))
  }

  const trace = claimed?.['trace'] !== undefined && TRACE_ID.test(claimed['trace']) ? claimed['trace'] : undefined
  const claims = Object.entries(claimed ?? {})
    .filter(([name]) => trace === undefined || name !== 'trace')
    .slice(0, MAX_CLAIMS)
    .map(([name, value]) => [
      capText(name, MAX_BYTES.name),
      commit(`claimed.${capText(name, MAX_BYTES.name)}`, capText(value, MAX_BYTES.claimed)),
    ])

  const fields: Record<string, Json | undefined> = {
    actors:
      principal && principal.actors.length > 0
        ? principal.actors.slice(0, MAX_CLAIMS).map((actor) => party(actor) ?? null)
        : undefined,
    approval_id: name(entry.approvalId),
    at: new Date(stamp.at).toISOString(),
    call_id: callId(entry.callId),
    claimed: claims.length > 0 ? Object.fromEntries(claims) : undefined,
    client: name(principal?.client ?? undefined),
    detail: detail && Object.keys(detail).length > 0 ? capDetail(detail) : undefined,
    effect: entry.effect,
    issuer: name(principal?.issuer),
    kind: entry.kind,
    model: claim('model', entry.model, MAX_BYTES.claimed),
    n: stamp.n,
    on_behalf_of: party(principal?.onBehalfOf),
    outcome: entry.outcome,
    owner: party(principal?.owner),
    policy_version: entry.policyVersion,
    reason: claim('reason', entry.reason, MAX_BYTES.reason),
    resource: entry.resource === undefined ? undefined : capText(plain(entry.resource), MAX_BYTES.resource),
    retry: stamp.isRetry ? true : undefined,
    reviewer: party(entry.reviewer),
    reviewer_group: name(entry.reviewerGroup),
    rule: name(entry.rule),
    stands_for: party(entry.standsFor),
    subject: party(principal),
    trace,
    upstream: name(entry.upstream),
    v: VERSION,
    verb: name(entry.verb),
    writer: stamp.writer,
  }
  return { text: canonicalJson(defined(fields)), fresh }
}

function name(text: string | undefined): string | undefined {
  return text === undefined ? undefined : capText(plain(text), MAX_BYTES.name)
}

function plain(text: string): string {
  if (text.includes('\0')) throw new GatewayError('audit', 'an entry holds a NUL')
  return text
}

function callId(id: string | undefined): string | undefined {
  if (id !== undefined && !CALL_ID.test(id))
    throw new GatewayError('audit', 'an entry names its call by something that is no UUID')
  return id
}

function defined(fields: Record<string, Json | undefined>): Record<string, Json> {
  const kept: Record<string, Json> = {}
  for (const name in fields) {
    const value = fields[name]
    if (value !== undefined) kept[name] = value
  }
  return kept
}
