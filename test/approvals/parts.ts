import { createHash, createSecretKey, randomBytes } from 'node:crypto'
import type { Approval, Ballot } from '../../src/domain/approval.ts'
import type { Exchange, Sealed, Stored } from '../../src/domain/call.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Held, Judged } from '../../src/domain/judged.ts'
import type { Group, Party, Person, Principal, Role } from '../../src/domain/principal.ts'
import { isRefusal, type Refusal } from '../../src/domain/refusal.ts'
import { parseSelector, type Selector } from '../../src/domain/selector.ts'
import type { Requirement, Verdict } from '../../src/domain/verdict.ts'
import { newCallId } from '../../src/platform/id.ts'
import type { KeyPair, SecretKey } from '../../src/platform/keys.ts'
import { createLogger } from '../../src/platform/logger.ts'

export const log = createLogger({ level: 'silent' })
export const ISSUER = 'https://idp.example.com'
export const FINANCE: Group = { issuerName: 'corp', name: 'finance' }

export function party(subject: string): Party {
  return { issuer: ISSUER, subject }
}

export function agent(subject = 'agent-7', more: Partial<Principal> = {}): Principal {
  return {
    ...party(subject),
    onBehalfOf: null,
    actors: [],
    owner: party('olga'),
    groups: [],
    client: 'support-bot',
    expiresAt: 0,
    ...more,
  }
}

export function person(subject: string, groups: readonly Group[] = [FINANCE], roles: readonly Role[] = []): Person {
  return { ...party(subject), name: subject, groups, roles, assurance: 'oidc', authenticatedAt: 1_700_000_000 }
}

export function selector(text: string): Selector {
  const parsed = parseSelector(text)
  if (!parsed) throw new Error(`no selector: ${text}`)
  return parsed
}

export function requirement(
  more: Partial<Omit<Requirement, 'reviewers'>> & { reviewers?: string[] } = {},
): Requirement {
  return {
    rule: { policy: 'billing', rule: 'refunds' },
    quorum: 1,
    expiresMs: null,
    isReasonRequired: false,
    ...more,
    reviewers: (more.reviewers ?? ['group:finance']).map(selector),
  }
}

export function verdict(requirements: readonly Requirement[] = [requirement()], more: Partial<Verdict> = {}): Verdict {
  return {
    effect: requirements.length > 0 ? 'hold' : 'allow',
    basis: 'rule',
    rules: [{ policy: 'billing', rule: 'refunds' }],
    message: null,
    requirements,
    limits: [],
    masks: [],
    maxDurationMs: null,
    policyVersion: 1,
    decidingAction: 0,
    ...more,
  }
}

export const ACTIONS: Judged['actions'] & object = [
  { upstream: 'billing', protocol: 'http', verb: 'POST', resource: '/refunds', facts: {} },
]

export function judged(of: Verdict = verdict()): Held {
  return { effect: 'hold', verdict: of, actions: ACTIONS, refusal: null }
}

export function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** What a call is made of: the same `what` is the same call; `volatile` changes its bytes, not what it is. */
export interface CallParts {
  readonly what?: string
  readonly volatile?: string
  readonly principal?: Principal
  readonly idempotencyKey?: string | null
  readonly isDetached?: boolean
  readonly waitMs?: number
  readonly gone?: AbortSignal
  readonly whenGone?: 'leave' | 'withdraw'
  readonly conversation?: string
  readonly bytes?: number
  readonly reply?: { readonly question: string; readonly text: string }
  readonly foreseen?: JsonObject
}

export interface TestCall extends Exchange {
  readonly sealed: Sealed
  readonly presented: { count: number }
}

export function makeCall(parts: CallParts = {}): TestCall {
  const { what = 'refund 120', volatile = '', principal = agent() } = parts
  const stored: Stored = {
    head: { path: '/refunds' },
    body: Buffer.from(`${what}${volatile}`.padEnd(parts.bytes ?? 0)),
  }
  const presented = { count: 0 }
  return {
    id: newCallId(),
    upstream: { name: 'billing', protocol: 'http', labels: { environment: 'test' }, mode: 'enforce', waitMs: 1000 },
    principal,
    waitMs: parts.waitMs ?? 1000,
    isDetached: parts.isDetached ?? false,
    idempotencyKey: parts.idempotencyKey ?? null,
    claimed: { reason: 'a customer asked', ...(parts.conversation && { conversation: parts.conversation }) },
    reply: parts.reply ?? null,
    gone: parts.gone ?? new AbortController().signal,
    whenGone: () => parts.whenGone ?? 'leave',
    sealed: { digest: sha256(`${what}${volatile}`), matchKey: sha256(what), stored },
    presented,
    describe: async () => ACTIONS,
    seal: async () => ({ digest: sha256(`${what}${volatile}`), matchKey: sha256(what), stored }),
    adopt: async (given) => createHash('sha256').update(given.body).digest(),
    async present() {
      presented.count += 1
      return {
        payload: { mediaType: 'text/plain', bytes: 10, text: what, isCut: false, redacted: [] },
        notes: ['shown'],
        ...(parts.foreseen && { foreseen: parts.foreseen }),
      }
    },
    held: async () => {},
    forward: async () => ({ name: 'forwarded', status: 200 }),
    refuse: async (why) => ({ name: 'refused', refusal: why }),
  }
}

export function ballot(approval: Approval, reviewer: Person, more: Partial<Ballot> = {}): Ballot {
  return {
    approval: approval.id,
    reviewer,
    decision: 'approve',
    reason: null,
    via: 'api',
    cardHash: approval.cardHash,
    ...more,
  }
}

export function granted<Value extends object>(result: Value | Refusal): Value {
  if (isRefusal(result)) throw new Error(`refused: ${result.code}: ${result.detail}`)
  return result
}

export function codeOf(result: object): string | null {
  return isRefusal(result) ? result.code : null
}

export function secretKeys(kid: string): KeyPair<SecretKey> {
  return { kid, current: { kid, key: createSecretKey(randomBytes(32)) }, previous: null }
}
