import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HOSTILE, hostileCall } from '../control/console-held.ts'
import { type ConsoleWorld, startConsole } from '../control/console-world.ts'
import { refund } from '../control/people.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, visit } from './chromium.ts'

const ID = '7Q3F000000'
const EVIL = '7Q3F000001'
const DONE = '7Q3F000002'
const OWN = '7Q3F000003'

let world: ConsoleWorld
let browser: Chromium
describe.skipIf(isSkipped)('every page in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    const starting = startConsole(
      (issuer) => {
        const requester = { ...refund(ID).approval.requester, issuer }
        const owned = { ...requester, owner: { issuer, subject: 'finn' } }
        return [
          refund(ID, { requester }),
          hostileCall(EVIL, issuer),
          refund(DONE, { requester, state: 'denied', decidedAt: 1_700_000_100_000, reason: 'No.' }),
          refund(OWN, { requester: owned }),
        ]
      },
      { observed: ['crm'] },
    )
    ;[world, browser] = await Promise.all([starting, launch()])
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
  })

  /** What axe finds of weight: the rule, and where. */
  async function faultsOf(page: Page): Promise<readonly string[]> {
    await page.evaluate(axe.source)
    const result = (await page.evaluate('axe.run()')) as axe.AxeResults // What axe.run resolves to.
    expect(result.passes.length).toBeGreaterThan(10)
    return result.violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`))
  }

  const approvalPages = [
    '/',
    '/history',
    `/approvals/${ID}`,
    `/approvals/${EVIL}`,
    `/approvals/${DONE}`,
    `/approvals/${OWN}`,
    '/approvals/0000000000',
  ]
  const readers = [
    { who: 'aud', paths: ['/audit', '/audit/2', '/audit/99', '/audit/report', '/audit?call=7'] },
    { who: 'finn', paths: [...approvalPages, '/history?from=2026-01-01', '/agents', '/policy', '/me'] },
  ]
  const looks = (['light', 'dark'] as const).flatMap((colorScheme) => {
    return [1200, 390].map((width) => ({ colorScheme, width }))
  })

  it.each(looks)('can be used by everybody: $colorScheme, $width px wide', async ({ colorScheme, width }) => {
    const options = { colorScheme, viewport: { width, height: 800 }, bypassCSP: true }
    const { context, page } = await visit(browser, options)
    const faults: Record<string, readonly string[]> = {}
    const wide: string[] = []
    async function look(path: string): Promise<void> {
      await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
      faults[path] = await faultsOf(page)
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      if (Number(overflow) > 0) wide.push(path)
    }
    for (const { who, paths } of readers) {
      await context.clearCookies()
      await signIn(page, `${world.base}/`, who)
      for (const path of paths) {
        await page.goto(world.base + path)
        await look(path)
      }
    }
    await page.goto(`${world.base}/policy`)
    await page.getByLabel('Who calls').fill('https://idp.example.com|support-bot')
    await page.getByLabel('Verb').fill('POST')
    await page.getByLabel('Resource').fill('/refunds')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.getByText('Cannot be told yet').first().waitFor()
    await look('/policy/explain')
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByText('You are signed out').waitFor()
    faults['/sign-out'] = await faultsOf(page)
    await page.goto(`${world.base}/sign-in/callback?code=1`)
    faults['/sign-in/callback'] = await faultsOf(page)
    expect(Object.entries(faults).filter(([, found]) => found.length > 0)).toEqual([])
    expect(wide).toEqual([])
    await context.close()
  })

  it('shows what is hostile as text: nothing of it runs, loads, or becomes an element', async () => {
    const { context, page, complaints } = await visit(browser)
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    await signIn(page, `${world.base}/approvals/${EVIL}`, 'finn')
    await page.evaluate("document.querySelector('details').open = true")
    await page.getByText('img src=x').first().waitFor()
    expect(await page.evaluate("document.querySelectorAll('img, script:not([src]), [onerror]').length")).toBe(0)
    expect(await page.evaluate("document.querySelectorAll('script').length")).toBe(1)
    expect(await page.evaluate('document.title')).toContain('⟨U+202E⟩')
    // Taking over what has changed is the way in that a script opens.
    const before = await page.locator('#status').innerHTML()
    world.change()
    await page.waitForResponse(
      (response) => response.url().endsWith(EVIL) && response.request().resourceType() === 'fetch',
    )
    expect(await page.locator('#status').innerHTML()).toHaveLength(before.length)
    expect(asked.filter((url) => !url.startsWith(world.base) && !url.startsWith(world.issuer))).toEqual([])
    expect(asked.filter((url) => url.endsWith('/x'))).toEqual([])
    expect(complaints).toEqual([])
    expect(HOSTILE).toContain('<img src=x')
    await context.close()
  })
})
