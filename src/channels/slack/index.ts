import type { RunningChannel } from '../../domain/channel.ts'
import type { SlackParts } from './channel.ts'
import { slackOptions } from './options.ts'

/** Reviewers are told in a Slack channel, and vote there. Starts and stays up while Slack is down. */
export const slack = { name: 'slack', options: slackOptions, start }

/** Slack's own library takes longer to load than most commands to run: it is loaded by whoever speaks to Slack. */
async function start(parts: SlackParts): Promise<RunningChannel> {
  const { startSlack } = await import('./channel.ts')
  return startSlack(parts)
}
