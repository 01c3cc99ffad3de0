import { z } from 'zod'
import { parseParty } from '../../domain/principal.ts'

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** Slack's Web API. GovSlack has another, `https://slack-gov.com/api/`. */
const SLACK_API = 'https://slack.com/api/'

function isApiUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  if (url.username !== '' || url.search !== '' || url.hash !== '' || !url.pathname.endsWith('/')) return false
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
}

/** `channels.slack` of the configuration. */
export const slackOptions = z
  .strictObject({
    bot_token: z
      .string()
      .regex(/^xoxb-[A-Za-z0-9-]{4,500}$/, 'must be a bot token (xoxb-…)')
      .describe('Bot User OAuth Token of the Slack app (xoxb-…)'),
    app_token: z
      .string()
      .regex(/^xapp-[A-Za-z0-9-]{4,500}$/, 'must be an app-level token (xapp-…)')
      .optional()
      .describe('App-level token with connections:write (xapp-…): Socket Mode, nothing is exposed to the internet'),
    signing_secret: z
      .string()
      .regex(/^[0-9A-Za-z]{16,128}$/, 'must be the signing secret, 16 or more letters and digits')
      .optional()
      .describe('Signing secret of the Slack app, in place of app_token: Slack posts to the control listener'),
    channel: z
      .string()
      .regex(/^[CG][A-Z0-9]{2,30}$/, 'must be a channel id (C0123456789), not its name')
      .describe('Id of the channel that gets the cards; the app must be a member of it'),
    detail: z
      .enum(['full', 'summary', 'link'])
      .default('full')
      .describe('How much of a call goes to Slack: all of it, all but its payload and what the agent claims, or an id'),
    people: z
      .record(
        z
          .string()
          .regex(/^T[A-Z0-9]{2,20}\/[UW][A-Z0-9]{2,20}$/, 'must be "team id/user id", as in T024BE7LD/U061F7AUR'),
        z.string().refine((text) => parseParty(text) !== null, 'must be "issuer|subject"'),
      )
      .default({})
      .describe(
        'Who is who, for those who do not link their account themselves: from "team id/user id" to "issuer|subject"',
      ),
    client_id: z
      .string()
      .regex(/^[0-9A-Za-z.-]{3,100}$/, 'must be the client id of the Slack app (123.456)')
      .optional()
      .describe('Client ID of the Slack app: reviewers link their account by signing in, with client_secret'),
    client_secret: z
      .string()
      .regex(/^[0-9A-Za-z]{8,128}$/, 'must be the client secret, 8 or more letters and digits')
      .optional()
      .describe('Client Secret of the Slack app'),
    api_url: z
      .string()
      .refine(isApiUrl, 'must be an https URL ending in / (http on loopback only)')
      .default(SLACK_API)
      .describe('The Web API: another one only for GovSlack or a test'),
  })
  .refine((options) => (options.app_token === undefined) !== (options.signing_secret === undefined), {
    message: 'needs exactly one of app_token (Socket Mode) and signing_secret (HTTP)',
  })
  .refine((options) => (options.client_id === undefined) === (options.client_secret === undefined), {
    message: 'needs both of client_id and client_secret, or neither',
  })
  .describe('Cards in one Slack channel: see slack.md')

export type SlackOptions = z.output<typeof slackOptions>
