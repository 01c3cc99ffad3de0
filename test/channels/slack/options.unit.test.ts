import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { slackOptions } from '../../../src/channels/slack/options.ts'

const valid = { bot_token: 'xoxb-1-2-three', app_token: 'xapp-1-A0-2-three', channel: 'C0123456789' }

describe('channels.slack', () => {
  it('needs little', () => {
    expect(slackOptions.parse(valid)).toEqual({
      ...valid,
      detail: 'full',
      people: {},
      api_url: 'https://slack.com/api/',
    })
  })

  const { app_token: _, ...neither } = valid
  const wrong: [string, unknown][] = [
    ['an unknown key', { ...valid, chanel: 'C1' }],
    ['neither app_token nor signing_secret', neither],
    ['both app_token and signing_secret', { ...valid, signing_secret: '0'.repeat(32) }],
    ['a short signing secret', { ...neither, signing_secret: 'short' }],
    ['a user token', { ...valid, bot_token: 'xoxp-1-2-three' }],
    ['a bot token for an app token', { ...valid, app_token: 'xoxb-1-2-three' }],
    ['a channel by its name', { ...valid, channel: '#approvals' }],
    ['another detail', { ...valid, detail: 'some' }],
    ['a person without a workspace', { ...valid, people: { U061: 'https://idp.example.com|alice' } }],
    ['a person by e-mail address', { ...valid, people: { 'T024/U061': 'alice@example.com' } }],
    ['an API in the clear', { ...valid, api_url: 'http://slack.com/api/' }],
    ['an API URL without a last slash', { ...valid, api_url: 'https://slack.com/api' }],
    ['an API URL with credentials', { ...valid, api_url: 'https://u:p@slack.com/api/' }],
  ]
  it.each(wrong)('refuses %s', (_, options) => {
    expect(slackOptions.safeParse(options).success).toBe(false)
  })

  it('never quotes a secret in what it complains about', () => {
    const { error } = slackOptions.safeParse({
      ...valid,
      bot_token: 'SECRET1',
      app_token: 'SECRET2',
      signing_secret: 'SECRET3',
    })
    expect(JSON.stringify(error?.issues)).not.toContain('SECRET')
  })

  it('describes each of its keys, for the documentation and for editors', () => {
    const schema = z.object({ properties: z.record(z.string(), z.object({ description: z.string() })) })
    const { properties } = schema.parse(z.toJSONSchema(slackOptions, { io: 'input' }))
    expect(Object.keys(properties)).toHaveLength(9)
  })
})
