import { afterEach, describe, expect, it } from 'vitest'
import { slack as channel } from '../../../src/channels/slack/index.ts'
import { slackOptions } from '../../../src/channels/slack/options.ts'
import { systemClock } from '../../../src/platform/clock.ts'
import { createLogger } from '../../../src/platform/logger.ts'
import { createMetrics } from '../../../src/platform/metrics.ts'
import { type Rig, startRig } from './rig.ts'
import { createFakeAgents, createFakeDesk } from './samples.ts'

let rig: Rig | null = null
afterEach(async () => {
  await rig?.close()
  rig = null
})

/** A press that is ready to be sent, and what sends it. */
async function start() {
  const started = await startRig({ mode: 'http' })
  rig = started
  const message = await started.card()
  await started.slack.press('U0BOB', message, 'countersign.deny')
  const payload = { ...started.slack.lastPayload(), trigger_id: 'fresh.trigger' }
  const approve = {
    ...payload,
    user: { id: 'U0ALICE', team_id: 'T024FAKE' },
    actions: [{ action_id: 'countersign.approve', value: `7Q3FX2K9AB:${'ca'.repeat(32)}` }],
  }
  const body = new URLSearchParams({ payload: JSON.stringify(approve) }).toString()
  const post = async (headers: Record<string, string>, sent = body, path = '/slack/interactivity', method = 'POST') => {
    const target = new URL(path, started.slack.requestUrl() ?? '')
    return fetch(target, method === 'GET' ? { headers } : { method, headers, body: sent })
  }
  return { ...started, body, post }
}

describe('the callback', () => {
  it('takes a signed press', async () => {
    const { slack, desk, body, post } = await start()
    const response = await post(slack.sign(body))
    expect(response.status).toBe(200)
    expect(desk.ballots).toMatchObject([{ decision: 'approve', reviewer: { subject: 'alice' } }])
  })

  const minute = 60_000
  const wrong: [string, (slack: Rig['slack'], body: string) => Record<string, string>][] = [
    ['signed with another secret', (slack, body) => slack.sign(body, { secret: 'f'.repeat(32) })],
    ['signed ten minutes ago', (slack, body) => slack.sign(body, { atMs: Date.now() - 10 * minute })],
    ['signed ten minutes from now', (slack, body) => slack.sign(body, { atMs: Date.now() + 10 * minute })],
    ['signed for another body', (slack, body) => slack.sign(`${body}x`)],
    [
      'with a newer timestamp than was signed',
      (slack, body) => ({
        ...slack.sign(body, { atMs: Date.now() - 10 * minute }),
        'x-slack-request-timestamp': String(Math.floor(Date.now() / 1000)),
      }),
    ],
    ['without a signature', (slack, body) => ({ ...slack.sign(body), 'x-slack-signature': '' })],
    ['of another version', (slack, body) => ({ ...slack.sign(body), 'x-slack-signature': `v1=${'0'.repeat(64)}` })],
    ['of half the length', (slack, body) => ({ ...slack.sign(body), 'x-slack-signature': 'v0=00' })],
    [
      'with a timestamp that is no number',
      (slack, body) => ({ ...slack.sign(body), 'x-slack-request-timestamp': 'NaN' }),
    ],
    ['without a timestamp', (slack, body) => ({ ...slack.sign(body), 'x-slack-request-timestamp': '' })],
  ]
  it.each(wrong)('refuses a press %s', async (_, sign) => {
    const { slack, desk, body, post, refusedSignatures } = await start()
    const response = await post(sign(slack, body))
    expect(response.status).toBe(401)
    expect(await response.text()).toBe('')
    expect(desk.ballots).toEqual([])
    expect(await refusedSignatures()).toBe(1)
  })

  it('takes a signed press once', async () => {
    const { slack, desk, body, post } = await start()
    const headers = slack.sign(body)
    await Promise.all([post(headers), post(headers), post(headers)])
    expect(desk.ballots).toHaveLength(1)
  })

  const others: [string, string][] = [
    ['an event', 'payload={"type":"event_callback"}'],
    ['a URL verification', 'payload={"type":"url_verification","challenge":"x"}'],
    ['a slash command', 'command=%2Fapprove&text=7Q3F'],
    ['a shortcut', 'payload={"type":"shortcut"}'],
    ['no JSON', 'payload={'],
    ['two payloads', 'payload={"type":"block_actions"}&payload={"type":"block_actions"}'],
    ['nothing', ''],
  ]
  it.each(others)('has no answer to %s, even signed', async (_, body) => {
    const { slack, desk, post } = await start()
    const response = await post(slack.sign(body), body)
    expect(response.status).toBe(400)
    expect(await response.text()).toBe('')
    expect(desk.ballots).toEqual([])
  })

  it('reads form-encoded bodies only, and no endless ones', async () => {
    const { slack, body, post } = await start()
    expect((await post({ ...slack.sign(body), 'content-type': 'application/json' })).status).toBe(415)
    const large = `payload=${'x'.repeat(2 * 1024 * 1024)}`
    expect((await post(slack.sign(large), large)).status).toBe(413)
  })

  it.each([
    ['/slack/interactivity', 'GET'],
    ['/slack/interactivity/', 'POST'],
    ['/slack/events', 'POST'],
    ['/v1/approvals', 'POST'],
  ])('is the only path: %s %s is not there', async (path, method) => {
    const { slack, body, post } = await start()
    expect((await post(slack.sign(body), body, path, method)).status).toBe(404)
  })
})

it('HTTP mode does not start without a listener to mount the callback on', async () => {
  const options = slackOptions.parse({
    bot_token: 'xoxb-some-token',
    signing_secret: '0'.repeat(32),
    channel: 'C024FAKE',
  })
  const starting = channel.start({
    options,
    desk: createFakeDesk(),
    agents: createFakeAgents(),
    findPerson: () => ({ fault: 'unlinked' }),
    invite: null,
    publicUrl: 'https://approvals.example.com',
    log: createLogger({ level: 'silent' }),
    clock: systemClock,
    metrics: createMetrics(),
  })
  await expect(starting).rejects.toMatchObject({ code: 'config' })
})
