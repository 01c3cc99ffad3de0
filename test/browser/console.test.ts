import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, type Visit, visit } from './chromium.ts'
import { startWhole, type WholeWorld } from './world.ts'

let world: WholeWorld
let browser: Chromium
const visits: Visit[] = []
describe.skipIf(isSkipped)('the console in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startWhole(), launch()])
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
  })
  afterEach(async () => {
    for (const { context, complaints } of visits.splice(0)) {
      expect(complaints).toEqual([])
      await context.close()
    }
  })

  async function open(options: Parameters<typeof visit>[1] = {}): Promise<Page> {
    const made = await visit(browser, options)
    visits.push(made)
    return made.page
  }

  /** Presses Tab until this is what a key would act on. */
  async function tabTo(page: Page, name: RegExp): Promise<void> {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press('Tab')
      const focused = String(await page.evaluate('document.activeElement?.innerText ?? ""'))
      if (name.test(focused)) return
    }
    throw new Error(`the keyboard does not get to ${name}`)
  }

  it('shows a held call as it arrives, and it is approved with the keyboard alone', async () => {
    const path = '/refunds/live'
    const page = await open()
    await signIn(page, `${world.base}/`, 'finn')
    await page.getByText('Nothing waits for you.').waitFor()
    // Something that a reload would lose.
    await page.evaluate('globalThis.isSamePage = true')
    const calling = world.call(world.gateway, path, { headers: { 'countersign-reason': 'Order 1234 came twice.' } })
    await page.getByRole('link', { name: path }).waitFor()
    expect(await page.evaluate('globalThis.isSamePage')).toBe(true)

    await tabTo(page, /\/refunds\/live/)
    await page.keyboard.press('Enter')
    await page.waitForURL(/\/approvals\//)
    for (const text of ['Order 1234 came twice.', 'support-agent', 'billing/refunds']) {
      await page.getByText(text).first().waitFor()
    }
    await page.locator('.derived pre').getByText('500').first().waitFor()
    await tabTo(page, /^Approve$/)
    await page.keyboard.press('Enter')
    await page.getByText('Finn from finance approved').waitFor()
    const response = await calling
    expect([response.status, await response.json()]).toEqual([200, { done: true }])
    await page.getByText('Approved and forwarded').first().waitFor()
    expect(world.arrivals(path)).toBe(1)
  })

  it('takes a denial with a reason, which the agent receives', async () => {
    const path = '/refunds/denied'
    const calling = world.call(world.gateway, path)
    const id = await world.approvalOf(path)
    const page = await open()
    await signIn(page, `${world.base}/approvals/${id}`, 'finn')
    await page.getByLabel('Reason').fill('Refund the original card.\nNot a new one.')
    await page.getByRole('button', { name: 'Deny' }).click()
    await page.getByText('denied', { exact: false }).first().waitFor()
    const response = await calling
    expect(response.status).toBe(403)
    expect(await response.text()).toContain('Refund the original card.')
    expect(world.arrivals(path)).toBe(0)
  })

  it('counts down to the deadline, and keeps what somebody writes while the page changes', async () => {
    const path = '/refunds/countdown'
    const stop = new AbortController()
    const calling = world.call(world.gateway, path, { signal: stop.signal }).catch(() => null)
    const id = await world.approvalOf(path)
    const page = await open()
    await signIn(page, `${world.base}/approvals/${id}`, 'finn')
    const deadline = page.locator('time[data-deadline]')
    const first = await deadline.textContent()
    expect(first).toMatch(/^\d+:\d\d left$/)
    await deadline.filter({ hasNotText: first ?? '' }).waitFor()
    await page.getByLabel('Reason').fill('half a sen')
    const heard = page.waitForResponse((response) => response.url().endsWith(`/approvals/${id}`))
    const other = world.call(world.gateway, '/refunds/other', { signal: stop.signal }).catch(() => null)
    await heard
    expect(await page.getByLabel('Reason').inputValue()).toBe('half a sen')
    stop.abort()
    await Promise.all([calling, other])
  })

  it('works without script: signing in, reading, approving', async () => {
    const path = '/refunds/script'
    const calling = world.call(world.gateway, path)
    const id = await world.approvalOf(path)
    const page = await open({ javaScriptEnabled: false })
    await signIn(page, `${world.base}/`, 'finn')
    await page.getByRole('link', { name: path }).click()
    await page.waitForURL(`${world.base}/approvals/${id}`)
    await page.getByRole('button', { name: 'Approve' }).click()
    await page.getByText('Finn from finance approved').waitFor()
    expect((await calling).status).toBe(200)
  })

  it('ends in every open page when its person signs out', async () => {
    const page = await open()
    await signIn(page, `${world.base}/history`, 'finn')
    const inbox = await page.context().newPage()
    await inbox.goto(`${world.base}/`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByText('You are signed out').waitFor()
    const stop = new AbortController()
    const calling = world.call(world.gateway, '/refunds/after', { signal: stop.signal }).catch(() => null)
    await inbox.getByText('Who are you?').first().waitFor()
    stop.abort()
    await calling
  })
})
