// Writes the pictures of the console that the documentation shows to docs/images/, with the demo's company and a Chromium
// of this machine: node scripts/console-screenshots.ts
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { type Agent, startAgent } from '../src/demo/agent.ts'
import { startWorld } from '../src/demo/world.ts'
import { launch, visit } from '../test/browser/chromium.ts'
import { startFakeSlack } from '../test/fakes/slack/server.ts'
import { toPalette } from './png-palette.ts'

const IMAGES = fileURLToPath(new URL('../docs/images/', import.meta.url))
const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 960, height: 480 },
  { name: 'dark', colorScheme: 'dark', width: 960, height: 480 },
  { name: 'phone', colorScheme: 'light', width: 390, height: 844 },
] as const
const REFUNDS = [
  { amount: 640, customer: 'c-1', reason: 'The customer was charged twice for order 1234.' },
  { amount: 120, customer: 'c-7', reason: 'Goodwill for a parcel that came late.' },
  { amount: 4800, customer: 'c-2', reason: 'The contract was cancelled within 14 days.' },
] as const
const POLICY = `
name: billing
rules:
  - { name: reads, upstreams: [billing], verbs: [GET, HEAD], effect: allow }
  - name: refunds-need-finance
    principals: ["group:support-agents"]
    upstreams: [billing]
    verbs: [POST]
    resources: ["/refunds", "/credits"]
    when: action.facts.body.amount > 100
    effect: hold
    approval:
      reviewers: ["group:finance"]
      override: ["group:audit"]
      grant: { for: 30m, uses: 20, covers: rule }
    message: Refunds over 100 need someone from finance.
  - { name: never-delete, upstreams: [billing], verbs: [DELETE], effect: deny, message: "Refunds are cancelled, never deleted." }
`
const SLACK_USER = 'U024FINN'
const PATIENCE_MS = 20_000
const EDGE_PX = 16

type Look = (typeof LOOKS)[number]
/** How much of a page: what is in the window, all of it, or one part. */
type Extent = 'window' | 'all' | { readonly part: string }

const directory = await mkdtemp(join(tmpdir(), 'countersign-pictures-'))
const leaving = new AbortController()
const slack = await startFakeSlack()
try {
  const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(600_000)])
  slack.addUser({ id: SLACK_USER })
  const { botToken: bot_token, appToken: app_token } = slack.state
  const { clientId: client_id, clientSecret: client_secret } = slack.openid
  const channels = {
    slack: { bot_token, app_token, channel: 'C024FAKE', api_url: slack.apiUrl, client_id, client_secret },
  }
  await using world = await startWorld(directory, {
    hasWellKnownPorts: false,
    signal,
    consoleHost: 'localhost',
    policy: POLICY,
    config: { channels },
  })
  slack.openid.redirectUrls.add(`${world.controlUrl}/link/slack/callback`)
  slack.openid.signedInAs = SLACK_USER
  const agent = await startAgent({ ...world, secret: world.agentSecret, signal })
  const browser = await launch()
  try {
    await agent.get('/billing/customers/c-1')
    await agent.delete('/billing/customers/c-3')
    await prepare(agent)
    await ask(agent)
    for (const look of LOOKS) await takeAll(look)
  } finally {
    await browser.close()
  }

  async function as(who: string, path: string, look: Look, show: (page: Page) => Promise<void>): Promise<void> {
    const { name: _name, colorScheme, ...viewport } = look
    const { context, page } = await visit(browser, { colorScheme, viewport })
    await open(page, who, path)
    await show(page)
    await context.close()
  }

  async function open(page: Page, who: string, path: string): Promise<void> {
    await page.goto(world.controlUrl + path)
    const button = page.getByRole('button', { name: who })
    await button.or(page.getByRole('button', { name: 'Sign out' })).waitFor()
    if (await button.isVisible()) await button.click()
    await page.getByRole('button', { name: 'Sign out' }).waitFor()
  }

  /** What the pages have to show: a denial, a passkey, a chat account, a grant that is used, an agent that is stopped. */
  async function prepare({ post }: Agent): Promise<void> {
    const { context, page } = await visit(browser)
    const devtools = await context.newCDPSession(page)
    await devtools.send('WebAuthn.enable')
    await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
      },
    })
    const granted = post('/billing/credits', { amount: 150, customer: 'c-1' }, 'She was promised a credit.')
    granted.catch(() => null)
    await open(page, 'Finn', '/')
    await page.getByRole('link', { name: /credits/ }).click()
    const { pathname } = new URL(page.url())
    const message = await until(() =>
      slack.state.messages.find((one) => JSON.stringify(one.blocks).includes(pathname.slice('/approvals/'.length))),
    )
    await slack.press(SLACK_USER, message, 'countersign.approve')
    const told = await until(() => slack.state.ephemerals.find(({ user }) => user === SLACK_USER))
    await page.goto(/<(http[^|>]+)\|/.exec(told.text)?.[1] ?? '')
    await page.getByRole('link', { name: 'Sign in with Slack' }).click()
    await page.getByRole('button', { name: 'Link them' }).click()
    await page.getByRole('link', { name: 'Sign in again to add a passkey' }).click()
    await page.getByRole('button', { name: 'Finn' }).click()
    await page.getByLabel('Name, to tell it from others').fill('work laptop')
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByRole('button', { name: 'Remove work laptop' }).waitFor()

    await page.goto(world.controlUrl + pathname)
    await page.getByText('Approve, and the same again').click()
    await page.getByLabel('The same is').selectOption('resource')
    await page.getByRole('button', { name: 'Read what it would allow' }).click()
    await page.getByRole('button', { name: 'Approve, and grant this' }).click()
    await granted
    await post('/billing/credits', { amount: 180, customer: 'c-2' }, 'She was promised a credit, too.')

    const denied = post('/billing/refunds', { amount: 900, customer: 'c-1' }, 'She asked for her money back once more.')
    denied.catch(() => null)
    await page.goto(`${world.controlUrl}/`)
    await page.getByRole('link', { name: /refunds/ }).click()
    await page.locator('#reason').fill('That order was refunded already.')
    await page.getByRole('button', { name: 'Deny' }).click()
    await denied

    await page.goto(
      `${world.controlUrl}/agents?${new URLSearchParams({ issuer: world.issuer, subject: 'night-agent' })}`,
    )
    await page.getByLabel('Reason').fill('It repeats refunds that were denied.')
    await page.getByRole('button', { name: 'Stop it' }).click()
    await page.getByText('night-agent is stopped').waitFor()
    await context.close()
  }

  async function takeAll(look: Look): Promise<void> {
    const take = (page: Page, name: string, extent: Extent = 'window') => picture(page, `${name}-${look.name}`, extent)
    await as('Finn', '/', look, async (page) => {
      const refunds = page.getByRole('link', { name: /refunds/ })
      await refunds.nth(REFUNDS.length - 1).waitFor()
      await take(page, 'inbox')
      await refunds.last().click()
      await page.getByRole('button', { name: 'Approve', exact: true }).waitFor()
      await take(page, 'approval', 'all')
      await page.goto(`${world.controlUrl}/grants`)
      await take(page, 'grants')
      await page.goto(`${world.controlUrl}/me`)
      await take(page, 'you', 'all')
    })
    await as('Otto', '/agents', look, (page) => take(page, 'agents', 'all'))
    await as('Aud', '/audit?effect=hold', look, async (page) => {
      await take(page, 'audit', look.name === 'phone' ? 'window' : 'all')
      await page.goto(`${world.controlUrl}/audit/report`)
      await take(page, 'auditors')
      await page.goto(`${world.controlUrl}/policy`)
      await page.getByLabel('Who calls').fill(`${world.issuer}|support-agent`)
      await page.getByLabel('Groups').fill('demo/support-agents')
      await page.getByLabel('Verb').fill('POST')
      await page.getByLabel('Resource').fill('/refunds')
      await page.getByLabel('Facts').fill('{"body": {"amount": 500}}')
      await page.getByRole('button', { name: 'Explain' }).click()
      await page.getByText('Held until people decide').waitFor()
      await take(page, 'policy', 'all')
      await page.goto(`${world.controlUrl}/`)
      await page
        .getByRole('link', { name: /refunds/ })
        .last()
        .click()
      const section = page.locator('details', { hasText: 'Override the reviewers' })
      await section.locator('summary').click()
      await section.getByRole('link', { name: 'sign in again' }).click()
      await page.getByRole('button', { name: 'Aud' }).click()
      await section.locator('summary').click()
      await section.getByRole('button', { name: 'Override' }).waitFor()
      await take(page, 'override', { part: '#decision' })
    })
  }
} finally {
  leaving.abort()
  await slack.close()
  await rm(directory, { recursive: true, force: true })
}

async function picture(page: Page, name: string, extent: Extent): Promise<void> {
  await page.evaluate('scrollTo(0, 0)')
  const box = typeof extent === 'object' ? await page.locator(extent.part).boundingBox() : null
  const { x, y, width, height } = box ?? { x: 0, y: 0, width: 0, height: 0 }
  // With some of what is around it.
  const clip = { x: x - EDGE_PX, y: y - EDGE_PX, width: width + 2 * EDGE_PX, height: height + 2 * EDGE_PX }
  const shot = await page.screenshot({ fullPage: extent !== 'window', ...(box && { clip }) })
  await writeFile(join(IMAGES, `console-${name}.png`), toPalette(shot))
}

/** Asks for every refund; nobody answers, and the calls end with this script. */
async function ask(agent: Agent): Promise<void> {
  for (const { reason, ...body } of REFUNDS) {
    agent.post('/billing/refunds', body, reason).catch(() => null)
  }
}

async function until<T>(find: () => T | undefined): Promise<T> {
  for (const deadline = performance.now() + PATIENCE_MS; performance.now() < deadline; await sleep(50)) {
    const found = find()
    if (found !== undefined) return found
  }
  throw new Error('what the pictures need does not come')
}
