import { afterEach, describe, expect, it } from 'vitest'
import { aWhile, type Rig, type RigOptions, startRig } from './rig.ts'

const APPROVE = 'countersign.approve'

let rig: Rig | null = null
async function start(options?: RigOptions): Promise<Rig> {
  rig = await startRig(options)
  return rig
}

afterEach(async () => {
  await rig?.close()
  rig = null
})

describe('Socket Mode', () => {
  it('connects again when Slack asks to', async () => {
    const { slack, desk, card, logged } = await start()
    await logged('connected to Slack')
    const message = await card()
    slack.sockets.refresh()
    await logged('Slack closed the connection')
    await slack.press('U0ALICE', message, APPROVE)
    expect(desk.ballots).toHaveLength(1)
  })

  it('connects again when the connection breaks, however often', async () => {
    const { slack, desk, card, logged } = await start()
    await logged('connected to Slack')
    for (let times = 0; times < 3; times++) {
      slack.sockets.cut()
      while (slack.sockets.count() > 0) await new Promise(setImmediate)
      await slack.sockets.connected()
    }
    await slack.press('U0ALICE', await card(), APPROVE)
    expect(desk.ballots).toHaveLength(1)
  })

  it('starts while Slack is down, and connects when it is up', async () => {
    const { slack, desk, card, logged } = await start({
      isConnected: false,
      before: (fake) => fake.mishap('*', { kind: 'down' }, 6),
    })
    await logged('no connection to Slack')
    await slack.sockets.connected()
    slack.recover()
    await slack.press('U0ALICE', await card(), APPROVE)
    expect(desk.ballots).toHaveLength(1)
  })

  it.each([
    ['a wrong app token', { kind: 'error', error: 'invalid_auth' }],
    ['a 500', { kind: 'status', status: 500 }],
    ['a page that is not JSON', { kind: 'html' }],
    ['going too fast', { kind: 'rate_limited', retryAfterS: 30 }],
    ['an answer that does not come', { kind: 'slow', ms: 400 }],
  ] as const)('keeps trying after %s, and says so', async (_, how) => {
    const { slack, log, logged } = await start({
      isConnected: false,
      timing: { timeoutMs: 200 },
      before: (fake) => fake.mishap('apps.connections.open', how, 2),
    })
    await slack.sockets.connected()
    await logged('connected to Slack')
    expect(log()).toContain('buttons do not work')
  })

  it('does not trust a connection that never says hello', async () => {
    const { slack, logged } = await start({
      isConnected: false,
      timing: { timeoutMs: 200 },
      before: (fake) => fake.sockets.beSilent(1),
    })
    await logged('did not say hello')
    await logged('connected to Slack')
    expect(slack.countCalls('apps.connections.open')).toBe(2)
  })

  it('handles an envelope once that Slack delivers again on another connection', async () => {
    const { slack, desk, card, logged } = await start()
    const message = await card()
    await slack.press('U0ALICE', message, APPROVE)
    await slack.send({ ...slack.lastPayload() })
    await logged('delivered twice')
    expect(desk.ballots).toHaveLength(1)
  })

  it('is told apart from a bot token that is wrong, which is logged at once', async () => {
    const { logged } = await start({
      before: (fake) => fake.mishap('auth.test', { kind: 'error', error: 'invalid_auth' }),
    })
    await logged('Slack does not accept the bot token')
  })
})

describe('stop', () => {
  it('closes the connection and opens no other', async () => {
    const { slack, channel } = await start()
    await channel.stop()
    while (slack.sockets.count() > 0) await new Promise(setImmediate)
    const opened = slack.countCalls('apps.connections.open')
    await aWhile()
    expect(slack.countCalls('apps.connections.open')).toBe(opened)
    expect(await channel.stop()).toBeUndefined()
  })

  it('ends while Slack is down', async () => {
    const { channel, logged } = await start({
      isConnected: false,
      before: (fake) => fake.mishap('*', { kind: 'down' }, 100),
    })
    await logged('no connection to Slack')
    await channel.stop()
  })

  it('waits for a press that is being handled', async () => {
    const { slack, desk, channel, card } = await start()
    const gate = Promise.withResolvers<void>()
    desk.answerNext(async (ballot) => {
      await gate.promise
      return { counted: true, approval: { ...desk.current.approval, id: ballot.approval, state: 'approved' } }
    })
    const pressing = slack.press('U0ALICE', await card(), APPROVE)
    while (desk.ballots.length === 0) await new Promise(setImmediate)
    const stopping = channel.stop()
    gate.resolve()
    await stopping
    expect((await pressing).status).toBe(200)
  })
})
