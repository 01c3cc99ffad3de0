import { z } from 'zod'
import type { SlackAnswer, SlackClient } from './client.ts'

const identitySchema = z.object({ team_id: z.string(), bot_id: z.string() })

/** The workspace that the bot token is of, and the bot's own id. */
export interface Workspace {
  readonly teamId: string
  readonly botId: string
}

/** Asks who the token belongs to, until Slack has answered once; a token never changes its owner. */
export function createWorkspace(client: SlackClient): (signal: AbortSignal) => Promise<SlackAnswer<Workspace>> {
  let known: Workspace | null = null
  return async (signal) => {
    if (known) return { ok: true, data: known }
    const answer = await client.call('auth.test', {}, { schema: identitySchema, signal })
    if (!answer.ok) return answer
    known = { teamId: answer.data.team_id, botId: answer.data.bot_id }
    return { ok: true, data: known }
  }
}
