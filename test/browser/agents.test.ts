import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemOf } from '../e2e/world.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, visit } from './chromium.ts'
import { startWhole, type WholeWorld } from './world.ts'

let world: WholeWorld
let browser: Chromium
describe.skipIf(isSkipped)('stopping an agent in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    ;[world, browser] = await Promise.all([startWhole(), launch()])
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
  })

  it('takes a link, a reason and a click: what was held is withdrawn, what comes next is refused', async () => {
    const path = '/refunds/wild'
    const calling = world.call(world.gateway, path)
    const id = await world.approvalOf(path)
    const { context, page, complaints } = await visit(browser)
    await signIn(page, `${world.base}/approvals/${id}`, 'finn')
    await page.getByRole('link', { name: 'Stop this agent' }).click()
    await page.waitForURL(/\/agents\?.*#stop$/)
    expect(await page.getByLabel('Issuer').inputValue()).toBe(world.issuer)
    expect(await page.getByLabel('Subject').inputValue()).toBe('support-agent')
    // Without a reason nothing is sent.
    await page.getByRole('button', { name: 'Stop it' }).click()
    expect(page.url()).toContain('#stop')
    await page.getByLabel('Reason').fill('It asks for refunds that nobody ordered.')
    await page.getByRole('button', { name: 'Stop it' }).click()

    await page.getByRole('status').getByText('support-agent is stopped').waitFor()
    expect(['withdrawn', 'suspended']).toContain((await problemOf(await calling)).code)
    await world.approvalOf(path, 'withdrawn')
    expect(world.arrivals(path)).toBe(0)
    const next = await world.call(world.gateway, '/customers/1', { method: 'GET' })
    expect(await problemOf(next)).toMatchObject({ status: 403, code: 'suspended' })
    // A reviewer may stop it, and not let it go on.
    expect(await page.getByRole('button', { name: /^Resume/ }).count()).toBe(0)
    expect(complaints).toEqual([])
    await context.close()
  })

  it('is undone by an admin, with a reason', async () => {
    const { context, page, complaints } = await visit(browser)
    await signIn(page, `${world.base}/agents`, 'aud')
    await page.getByText('It asks for refunds that nobody ordered.').waitFor()
    await page.getByRole('cell', { name: 'Stopped' }).waitFor()
    await page.getByLabel('Why it may go on').fill('Its prompt was mended.')
    await page.getByRole('button', { name: 'Resume support-agent' }).click()
    await page.getByRole('cell', { name: 'Runs' }).waitFor()
    // The gateway hears of it within a second, and until then it refuses.
    const next = async () => (await world.call(world.gateway, '/customers/1', { method: 'GET' })).status
    await expect.poll(next, { timeout: 5_000 }).toBe(200)
    expect(complaints).toEqual([])
    await context.close()
  })
})
