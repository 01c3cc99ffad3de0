import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type FakeSlack, startFakeSlack } from '../fakes/slack/server.ts'
import { faultsOf } from './axe.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, visit } from './chromium.ts'
import { startWhole, type WholeWorld } from './world.ts'

const APPROVE = 'countersign.approve'
const PATIENCE = { timeout: 20_000, interval: 50 }

let slack: FakeSlack
let world: WholeWorld
let browser: Chromium
describe.skipIf(isSkipped)('linking a Slack account in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    slack = await startFakeSlack()
    for (const id of ['U0FINN', 'U0FAY']) slack.addUser({ id })
    const { botToken: bot_token, appToken: app_token } = slack.state
    const { clientId: client_id, clientSecret: client_secret } = slack.openid
    const channel = 'C024FAKE'
    const whole = startWhole({
      channels: { slack: { bot_token, app_token, channel, api_url: slack.apiUrl, client_id, client_secret } },
    })
    ;[world, browser] = await Promise.all([whole, launch()])
    slack.openid.redirectUrls.add(`${world.base}/link/slack/callback`)
    await slack.sockets.connected()
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
    await slack?.close()
  })

  /** A call that is held, and its card. */
  async function held(path: string) {
    const id = await world.abandon(world.gateway, path)
    const message = await vi.waitFor(() => {
      return slack.state.messages.find((one) => JSON.stringify(one.blocks).includes(id)) ?? expect.fail('no card yet')
    }, PATIENCE)
    return { id, message }
  }

  /** What is said to the one who presses, and to nobody else. */
  async function press(user: string, { message }: Awaited<ReturnType<typeof held>>): Promise<string> {
    const before = slack.state.ephemerals.length
    await slack.press(user, message, APPROVE)
    const told = await vi.waitFor(() => {
      return slack.state.ephemerals.slice(before).find((one) => one.user === user) ?? expect.fail('told nothing yet')
    }, PATIENCE)
    return told.text
  }

  const linkIn = (text: string) => /<(http[^|>]+)\|/.exec(text)?.[1] ?? expect.fail(`no link in: ${text}`)

  it('goes from the first press over two sign-ins in one session to a vote that counts', async () => {
    const card = await held('/refunds/linked')
    const link = linkIn(await press('U0FINN', card))
    const { context, page, complaints } = await visit(browser, { bypassCSP: true })
    slack.openid.signedInAs = 'U0FINN'
    await signIn(page, link, 'finn')
    await page.getByText('If somebody sent you here, close this page.').waitFor()
    await page.getByRole('link', { name: 'Sign in with Slack' }).click()
    await page.getByText('U0FINN of T024FAKE').waitFor()
    await page.getByText('Finn from finance').first().waitFor()
    expect(await faultsOf(page)).toEqual([])
    await page.getByRole('button', { name: 'Link them' }).click()
    await page.waitForURL(`${world.base}/me`)
    await page.getByRole('button', { name: 'Unlink U0FINN' }).waitFor()
    expect(await faultsOf(page)).toEqual([])

    await slack.press('U0FINN', card.message, APPROVE)
    await world.approvalOf('/refunds/linked', 'approved')
    await page.goto(`${world.base}/approvals/${card.id}`)
    await page.getByText('through slack').waitFor()
    expect((await world.call(world.gateway, '/refunds/linked')).status).toBe(200)

    await page.goto(`${world.base}/me`)
    await page.getByRole('button', { name: 'Unlink U0FINN' }).click()
    await page.getByText('whoever is not linked yet is sent a link').waitFor()
    linkIn(await press('U0FINN', await held('/refunds/unlinked')))
    expect(complaints).toEqual([])
    await context.close()
  })

  it('ends at the second sign-in for whoever was only given the link', async () => {
    const link = linkIn(await press('U0FAY', await held('/refunds/passed-on')))
    slack.openid.signedInAs = 'U0FINN'
    const { context, page, complaints } = await visit(browser)
    await signIn(page, link, 'finn')
    await page.getByRole('link', { name: 'Sign in with Slack' }).click()
    await page.getByText('A link that was passed on links nothing.').waitFor()
    await page.getByRole('link', { name: 'To your accounts' }).click()
    await page.getByText('whoever is not linked yet is sent a link').waitFor()
    expect(complaints).toEqual([])
    await context.close()
  })
})
