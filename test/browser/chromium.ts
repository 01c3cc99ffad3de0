import { existsSync } from 'node:fs'
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'

/** For one thing to show, while other tests keep the machine busy. */
const WAIT_MS = 20_000

/** For a test, which waits for many. */
export const BROWSING_MS = 120_000

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Null where none is installed: tests are skipped there, but never where nothing may be (COUNTERSIGN_TEST_NO_SKIP). */
export const chromiumPath = PLACES.find((path) => existsSync(path)) ?? null

export const isSkipped = chromiumPath === null && process.env['COUNTERSIGN_TEST_NO_SKIP'] !== '1'

/** A browser that talks to nobody but whom a test opens. */
export async function launch() {
  if (chromiumPath === null) throw new Error('there is no Chromium: install the package chromium')
  return chromium.launch({
    executablePath: chromiumPath,
    args: [
      // It shows pages of ours alone, and as root it has no sandbox.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

export type Chromium = Awaited<ReturnType<typeof launch>>

export interface Visit {
  readonly context: BrowserContext
  readonly page: Page
  /** What the console of the browser said that it should not have: violations of the policy, errors of scripts. */
  readonly complaints: readonly string[]
}

/** A fresh profile, with one page. */
export async function visit(browser: Chromium, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'UTC', ...options })
  context.setDefaultTimeout(WAIT_MS)
  const page = await context.newPage()
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('dialog', (dialog) => {
    complaints.push(`a dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('console', (message) => {
    // A status that is an answer like any other (401 to a page that is signed out) is no complaint.
    const isStatus = message.text().startsWith('Failed to load resource')
    if (['error', 'warning'].includes(message.type()) && !isStatus) complaints.push(message.text())
  })
  return { context, page, complaints }
}

/** Goes to a page of the console, and says at the identity provider who one is. */
export async function signIn(page: Page, at: string, as: string): Promise<void> {
  await page.goto(at)
  await page.getByRole('button', { name: as, exact: true }).click()
  await page.waitForURL(at)
}
