import type { z } from 'zod'
import {
  type ApprovalWire,
  listedSchema,
  problemSchema,
  shownSchema,
  switchedSchema,
  votedSchema,
} from '../control/wire.ts'
import type { Decision } from '../domain/approval.ts'
import type { Party } from '../domain/principal.ts'
import type { PersonName } from './company.ts'
import { untilAvailable } from './patience.ts'
import { signIn } from './sign-in.ts'

const TIMEOUT_MS = 10_000

/** A person who decides through the approver API, with a token they signed in for. */
export interface Reviewer {
  /** The open approvals that this person may see. */
  list(): Promise<readonly ApprovalWire[]>
  /** Looks at the card and votes on it. Null if the vote counts, or else why it does not. */
  vote(decision: Decision, id: string, reason: string): Promise<{ code: string; detail: string } | null>
  /** Lets an agent that was stopped go on. Throws if this person may not. */
  resume(agent: Party, reason: string): Promise<void>
}

export async function startReviewer(
  person: PersonName,
  where: { issuer: string; controlUrl: string; signal: AbortSignal },
): Promise<Reviewer> {
  const { controlUrl, signal } = where
  const token = await signIn(person, where)

  async function ask<T>(path: string, body: object | null, schema: z.ZodType<T>) {
    const send = () =>
      fetch(`${controlUrl}${path}`, {
        ...(body && { method: 'POST', body: JSON.stringify(body) }),
        headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
    const response = await untilAvailable(send, signal)
    const answer: unknown = await response.json()
    return response.ok ? { value: schema.parse(answer) } : { refusal: problemSchema.parse(answer) }
  }

  async function get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    const answer = await ask(path, null, schema)
    if ('value' in answer) return answer.value
    throw new Error(`${person} is not shown ${path}: ${answer.refusal.detail}`)
  }

  return {
    list: async () => (await get('/v1/approvals', listedSchema)).approvals,
    async vote(decision, id, reason) {
      const { approval } = await get(`/v1/approvals/${id}`, shownSchema)
      const ballot = { card_hash: approval.card_hash, reason }
      const answer = await ask(`/v1/approvals/${id}/${decision}`, ballot, votedSchema)
      return 'value' in answer ? null : answer.refusal
    },
    async resume({ issuer, subject }, reason) {
      const answer = await ask('/v1/agents/resume', { issuer, subject, reason }, switchedSchema)
      if ('refusal' in answer) throw new Error(`${person} cannot resume the agent: ${answer.refusal.detail}`)
    },
  }
}
