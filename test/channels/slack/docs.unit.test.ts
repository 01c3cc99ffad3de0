import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { METHODS } from '../../../src/channels/slack/client.ts'
import { CALLBACK_PATH } from '../../../src/channels/slack/http.ts'
import { slackOptions } from '../../../src/channels/slack/options.ts'
import { COMMAND } from '../../../src/channels/slack/payload.ts'
import { RULES } from '../../fakes/slack/methods.ts'

const root = new URL('../../../', import.meta.url)
const page = readFileSync(new URL('docs/slack.md', root), 'utf8')
const manifestSchema = z.strictObject({
  _metadata: z.strictObject({ major_version: z.number() }),
  display_information: z.strictObject({
    name: z.string().max(35),
    description: z.string().max(140),
    background_color: z.string().regex(/^#[0-9a-f]{6}$/),
  }),
  features: z.strictObject({
    bot_user: z.strictObject({ display_name: z.string().regex(/^[a-z0-9._-]{1,80}$/), always_online: z.boolean() }),
    slash_commands: z.tuple([
      z.strictObject({
        command: z.literal(COMMAND),
        description: z.string().max(2000),
        usage_hint: z.string().max(1000),
        should_escape: z.literal(false),
      }),
    ]),
  }),
  oauth_config: z.strictObject({
    redirect_urls: z.tuple([z.url({ protocol: /^https$/ })]),
    scopes: z.strictObject({ bot: z.array(z.string()), user: z.tuple([z.literal('openid'), z.literal('profile')]) }),
  }),
  settings: z.strictObject({
    interactivity: z.strictObject({ is_enabled: z.literal(true) }),
    org_deploy_enabled: z.literal(false),
    socket_mode_enabled: z.literal(true),
    token_rotation_enabled: z.literal(false),
  }),
})
const manifest = manifestSchema.parse(parse(readFileSync(new URL('docs/slack-manifest.yaml', root), 'utf8')))

describe('the manifest', () => {
  it('asks for exactly the scopes that the methods in use need', () => {
    const needed = new Set<string>([...Object.values(METHODS).flat(), 'commands'])
    expect(manifest.oauth_config.scopes.bot.toSorted()).toEqual([...needed].toSorted())
  })

  it('covers every method that the code calls', () => {
    const folder = new URL('src/channels/slack/', root)
    const source = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'))
    const called = source.flatMap((text) =>
      [...text.matchAll(/\.call\(\s*'([a-zA-Z.]+)'/g)].map(([, method]) => method),
    )
    expect(new Set(called)).toEqual(new Set(Object.keys(METHODS)))
  })

  it('has the command that the page explains, as it is typed', () => {
    const [{ command, usage_hint: hint }] = manifest.features.slash_commands
    expect(page).toContain(`${command} ${hint}`)
    expect(page).toContain(`${command} suspend support-agent it deletes what it should not`)
  })

  it('agrees with what the fake demands of each method', () => {
    for (const [method, scopes] of Object.entries(METHODS)) expect(RULES[method]?.scopes).toEqual(scopes)
  })
})

describe('the page', () => {
  const snippets = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml]) => yaml ?? '')
  const secrets: Record<string, string> = {
    SLACK_BOT_TOKEN: 'xoxb-1-2-three',
    SLACK_APP_TOKEN: 'xapp-1-A0-2-three',
    SLACK_CLIENT_ID: '123.456',
    SLACK_CLIENT_SECRET: '0123456789abcdef0123456789abcdef',
    SLACK_SIGNING_SECRET: '0123456789abcdef0123456789abcdef',
  }

  it('shows both modes', () => {
    for (const key of ['app_token', 'signing_secret'])
      expect(
        snippets.some((yaml) => yaml.includes(key)),
        key,
      ).toBe(true)
  })

  it.each(snippets)('has a snippet that the configuration takes: %#', (yaml) => {
    const filled = yaml.replace(/\$\{([A-Z_]+)\}/g, (_, name: string) => secrets[name] ?? expect.fail(name))
    const { channels } = z.object({ channels: z.strictObject({ slack: z.unknown() }) }).parse(parse(filled))
    expect(() => slackOptions.parse(channels.slack)).not.toThrow()
  })

  it('names the path that Slack posts to, and the values of detail', () => {
    expect(page).toContain(`https://approvals.example.com${CALLBACK_PATH}`)
    for (const detail of ['full', 'summary', 'link']) expect(page).toContain(`| \`${detail}\` |`)
  })

  it('quotes the log as it is written', () => {
    const folder = new URL('src/channels/slack/', root)
    const source = readdirSync(folder)
      .map((name) => readFileSync(new URL(name, folder), 'utf8'))
      .join('\n')
    for (const line of [
      'Slack accepts the bot token',
      'connected to Slack (Socket Mode)',
      'Slack does not accept the bot token',
      'no connection to Slack: buttons do not work',
      'Slack does not take a card',
      'people of another workspace cannot vote through this app',
      'not linked to a reviewer',
      'does not name you as a reviewer',
      'Slack did not confirm your account',
    ]) {
      expect(source).toContain(line)
      expect(page).toContain(line)
    }
  })
})
