import { z } from 'zod'
import type { Logger } from '../../platform/logger.ts'
import type { SlackClient } from './client.ts'

/** Where and by whom a button was pressed. */
export interface Place {
  readonly channel: string
  readonly ts: string
  readonly thread: string | null
  readonly user: string
  /** Slack's own address for answering a press, good for half an hour. */
  readonly responseUrl?: string
}

export type Tell = (at: Place, text: string, signal: AbortSignal) => Promise<void>

const SLACK_HOOKS = ['https://hooks.slack.com', 'https://hooks.slack-gov.com']

/** Says something to one person, where nobody else in the channel sees it. `text` is the gateway's own words. */
export function createTell(parts: {
  readonly client: SlackClient
  readonly apiUrl: string
  readonly fetch: typeof fetch
  readonly log: Logger
}): Tell {
  const { client, apiUrl, log } = parts

  return async (at, text, signal) => {
    const thread = at.thread === null ? {} : { thread_ts: at.thread }
    const args = { channel: at.channel, user: at.user, text, ...thread, parse: 'none', link_names: false }
    const answer = await client.call('chat.postEphemeral', args, { schema: z.object({ ok: z.literal(true) }), signal })
    if (answer.ok) return
    const isTold = await tellByUrl(at, text, signal)
    if (!isTold) log.warn({ slack: answer }, 'somebody could not be told why a press did not count')
  }

  async function tellByUrl({ responseUrl }: Place, text: string, signal: AbortSignal): Promise<boolean> {
    if (responseUrl === undefined || !isOurs(responseUrl)) return false
    try {
      const response = await parts.fetch(responseUrl, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ response_type: 'ephemeral', replace_original: false, text }),
        signal,
      })
      return response.ok
    } catch (error) {
      log.debug({ err: error }, 'response_url failed')
      return false
    }
  }

  function isOurs(url: string): boolean {
    return URL.canParse(url) && [...SLACK_HOOKS, new URL(apiUrl).origin].includes(new URL(url).origin)
  }
}
