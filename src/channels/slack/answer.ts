import type { types } from '@slack/bolt'
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

/** What only the one who acted sees. `blocks` may hold words of others; `text` is the gateway's own, in Slack's markup. */
export interface Ephemeral {
  readonly text: string
  readonly blocks?: readonly types.KnownBlock[]
}

/** Answers at the address that Slack gave with a press or a command. False if it could not be done. */
export type Respond = (url: string | undefined, answer: Ephemeral, signal: AbortSignal) => Promise<boolean>

export function createRespond(parts: {
  readonly apiUrl: string
  readonly fetch: typeof fetch
  readonly log: Logger
}): Respond {
  const { apiUrl, log } = parts

  return async (url, answer, signal) => {
    if (url === undefined || !isOurs(url)) return false
    try {
      const response = await parts.fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ response_type: 'ephemeral', replace_original: false, ...answer }),
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

/** Says something to one person, where nobody else in the channel sees it. `text` is the gateway's own words. */
export function createTell(parts: {
  readonly client: SlackClient
  readonly respond: Respond
  readonly log: Logger
}): Tell {
  const { client, respond, log } = parts

  return async (at, text, signal) => {
    const thread = at.thread === null ? {} : { thread_ts: at.thread }
    const args = { channel: at.channel, user: at.user, text, ...thread, parse: 'none', link_names: false }
    const answer = await client.call('chat.postEphemeral', args, { schema: z.object({ ok: z.literal(true) }), signal })
    if (answer.ok) return
    const isTold = await respond(at.responseUrl, { text }, signal)
    if (!isTold) log.warn({ slack: answer }, 'somebody could not be told why a press did not count')
  }
}
