import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, visit } from './chromium.ts'
import { startWhole, type WholeWorld } from './world.ts'

let world: WholeWorld
let browser: Chromium
describe.skipIf(isSkipped)('the audit log in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startWhole(), launch()])
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
  })

  it('is searched, an entry is found and read, and what was found becomes a file', async () => {
    for (let n = 0; n < 3; n++) await world.call(world.gateway, `/customers/${n}`, { method: 'GET' })
    await world.call(world.gateway, '/customers/9', { method: 'DELETE' })
    const { context, page, complaints } = await visit(browser)
    await signIn(page, `${world.base}/`, 'aud')
    await page.getByRole('link', { name: 'Audit log' }).click()
    await page.getByRole('heading', { name: 'The chain' }).waitFor()

    await page.getByLabel('Verb').fill('DELETE')
    await page.getByLabel('Effect').selectOption('deny')
    await page.getByRole('button', { name: 'Find' }).click()
    await page.waitForURL(/verb=DELETE/)
    const rows = page.locator('table.log tbody tr')
    expect(await rows.count()).toBe(1)
    const downloading = page.waitForEvent('download')
    await page.getByRole('link', { name: 'CSV' }).click()
    expect((await downloading).suggestedFilename()).toBe('countersign-audit.csv')

    await rows.getByRole('link').click()
    await page.getByRole('heading', { name: /^Entry \d+/ }).waitFor()
    await page.getByText('Its hash follows from its body').waitFor()
    await page.getByLabel('The body').getByText('"kind": "intent"').waitFor()
    await page.getByRole('link', { name: 'All of this call' }).click()
    await page.waitForURL(/call=/)
    expect(await rows.count()).toBe(2)
    expect(complaints).toEqual([])
    await context.close()
  })

  it('leads an auditor to a population of a period, without SQL', async () => {
    const { context, page, complaints } = await visit(browser)
    await signIn(page, `${world.base}/audit`, 'aud')
    await page.getByRole('link', { name: 'Populations for a period' }).click()
    await page.getByLabel('From').fill('2026-01-01T00:00')
    await page.getByRole('button', { name: 'Set the period' }).click()
    await page.waitForURL(/from=2026/)
    const downloading = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Calls (CSV)', exact: true }).click()
    expect((await downloading).suggestedFilename()).toBe('countersign-calls.csv')
    expect(complaints).toEqual([])
    await context.close()
  })
})
