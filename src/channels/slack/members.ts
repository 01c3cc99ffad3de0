import { z } from 'zod'
import type { Clock } from '../../platform/clock.ts'
import type { SlackClient } from './client.ts'
import type { PersonFault } from './wording.ts'

const KEEP_MS = 60_000
const MAX_KEPT = 1000

/** Slack's flags of an account. What it leaves out for an account it knows little of is not assumed: that is refused. */
const userSchema = z.object({
  user: z.object({
    id: z.string(),
    team_id: z.string(),
    deleted: z.boolean(),
    is_bot: z.boolean(),
    is_restricted: z.boolean().optional(),
    is_ultra_restricted: z.boolean().optional(),
    is_stranger: z.boolean().optional(),
    is_workflow_bot: z.boolean().optional(),
    is_connector_bot: z.boolean().optional(),
    is_invited_user: z.boolean().optional(),
  }),
})

export type MemberFault = Extract<PersonFault, 'foreign' | 'bot' | 'guest' | 'deactivated' | 'unconfirmed'>

/**
 * Asks Slack whether an account is a full, active member of the workspace. Answers are kept for a minute; a failure to
 * ask is not, and is a no.
 */
export function createMembers(client: SlackClient, clock: Clock) {
  const kept = new Map<string, { readonly at: number; readonly fault: MemberFault | null }>()

  async function ask(userId: string, teamId: string, signal: AbortSignal): Promise<MemberFault | null> {
    const answer = await client.call('users.info', { user: userId }, { schema: userSchema, signal })
    if (!answer.ok) return 'unconfirmed'
    const { user } = answer.data
    if (user.id !== userId) return 'unconfirmed'
    if (user.deleted) return 'deactivated'
    if (user.is_bot || user.is_workflow_bot || user.is_connector_bot || userId === 'USLACKBOT') return 'bot'
    if (user.team_id !== teamId || user.is_stranger) return 'foreign'
    if (user.is_restricted || user.is_ultra_restricted) return 'guest'
    const isKnown = user.is_restricted === false && user.is_ultra_restricted === false
    return isKnown && !user.is_invited_user ? null : 'unconfirmed'
  }

  return {
    /** Null for a full member of the workspace. */
    async check(userId: string, teamId: string, signal: AbortSignal): Promise<MemberFault | null> {
      const now = clock.monotonic()
      const known = kept.get(userId)
      if (known && now - known.at < KEEP_MS) return known.fault
      const fault = await ask(userId, teamId, signal)
      if (fault !== 'unconfirmed') {
        kept.delete(userId)
        kept.set(userId, { at: now, fault })
        const [oldest] = kept.keys()
        if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest)
      }
      return fault
    },
  }
}

export type Members = ReturnType<typeof createMembers>
