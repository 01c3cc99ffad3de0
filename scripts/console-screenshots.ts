// Writes the pictures of the console that the documentation shows to docs/images/, with the demo's company and a Chromium
// of this machine: node scripts/console-screenshots.ts
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Agent, startAgent } from '../src/demo/agent.ts'
import { startWorld } from '../src/demo/world.ts'
import { launch, visit } from '../test/browser/chromium.ts'

const IMAGES = fileURLToPath(new URL('../docs/images/', import.meta.url))
const LOOKS = [
  { name: 'light', colorScheme: 'light', width: 960, height: 420 },
  { name: 'dark', colorScheme: 'dark', width: 960, height: 420 },
  { name: 'phone', colorScheme: 'light', width: 390, height: 844 },
] as const
const REFUNDS = [
  { amount: 640, customer: 'c-1', reason: 'The customer was charged twice for order 1234.' },
  { amount: 120, customer: 'c-7', reason: 'Goodwill for a parcel that came late.' },
  { amount: 4800, customer: 'c-2', reason: 'The contract was cancelled within 14 days.' },
] as const

const directory = await mkdtemp(join(tmpdir(), 'countersign-pictures-'))
const leaving = new AbortController()
try {
  const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(180_000)])
  await using world = await startWorld(directory, { hasWellKnownPorts: false, signal })
  const agent = await startAgent({ ...world, secret: world.agentSecret, signal })
  const browser = await launch()
  try {
    await ask(agent)
    for (const look of LOOKS) await picture(look)
  } finally {
    await browser.close()
  }

  async function picture({ name, colorScheme, width, height }: (typeof LOOKS)[number]): Promise<void> {
    const { context, page } = await visit(browser, { colorScheme, viewport: { width, height } })
    await page.goto(`${world.controlUrl}/`)
    await page.getByRole('button', { name: 'Finn' }).click()
    await page
      .getByRole('link', { name: /refunds/ })
      .nth(REFUNDS.length - 1)
      .waitFor()
    await page.screenshot({ path: join(IMAGES, `console-inbox-${name}.png`), fullPage: false })
    await page
      .getByRole('link', { name: /refunds/ })
      .last()
      .click()
    await page.getByRole('button', { name: 'Approve' }).waitFor()
    await page.screenshot({ path: join(IMAGES, `console-approval-${name}.png`), fullPage: true })
    await context.close()
  }
} finally {
  leaving.abort()
  await rm(directory, { recursive: true, force: true })
}

/** Asks for every refund; nobody answers, and the calls end with this script. */
async function ask(agent: Agent): Promise<void> {
  for (const { reason, ...body } of REFUNDS) {
    agent.post('/billing/refunds', body, reason).catch(() => null)
  }
}
