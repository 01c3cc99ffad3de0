import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Running, start, startedProcesses } from '../demo/process.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, visit } from './chromium.ts'

const ROOT = new URL('../../', import.meta.url).pathname

let data: string
let browser: Chromium
const running: Running[] = []
describe.skipIf(isSkipped)('the demo in a browser (needs chromium)', { timeout: 2 * BROWSING_MS }, () => {
  beforeAll(async () => {
    ;[data, browser] = await Promise.all([mkdtemp(join(tmpdir(), 'countersign-demo-browser-')), launch()])
  })
  afterEach(async () => {
    for (const each of running.splice(0)) await each.end()
  })
  afterAll(async () => {
    await browser?.close()
    await rm(data, { recursive: true, force: true })
  })

  async function signInAs(page: Page, name: string): Promise<void> {
    await page.getByRole('button', { name }).click()
    await page.getByRole('button', { name: 'Sign out' }).waitFor()
  }

  it('leads from the address it prints to a click on Approve, and the story goes on by itself', async () => {
    const demo = start(process.execPath, ['src/demo/main.ts', '--data', data], ROOT)
    running.push(demo)
    const { context, page, complaints } = await visit(browser)
    const [, address = ''] = await demo.says(/Open the console .*\n(?:.*\n)*? +(http:\/\/127\.0\.0\.1:\d+\/)\n/)
    const [, first = ''] = await demo.says(/It is approval (\w+)\./)

    await page.goto(address)
    await signInAs(page, 'Finn from finance')
    await page.getByRole('link', { name: /POST.*\/refunds/ }).click()
    await page.waitForURL(`${address}approvals/${first}`)
    await page.getByText('Her parcel arrived broken').waitFor()
    await page.getByLabel('Reason').fill('I have seen the photos.')
    await page.getByRole('button', { name: 'Approve' }).click()
    await demo.says(/upstream +201: .*"amount":450/)
    await demo.says(/It arrived once, after the approval: the balance is 1650 now\./)

    await demo.says(/Now you: deny it, and say why/)
    await page.getByRole('navigation').getByRole('link', { name: 'Inbox' }).click()
    await page.getByRole('link', { name: /POST.*\/refunds/ }).click()
    await page.getByLabel('Reason').fill('Only with a photo of the parcel.')
    await page.getByRole('button', { name: 'Deny' }).click()
    await demo.says(/403 not_approved: .*Only\s+with\s+a\s+photo\s+of\s+the\s+parcel\./s)

    const [, audit = ''] = await demo.says(/(http:\/\/127\.0\.0\.1:\d+\/audit)\n/)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByText('You are signed out').waitFor()
    await page.goto(audit)
    await signInAs(page, 'Aud, the auditor')
    await page.getByRole('heading', { name: 'The chain' }).waitFor()
    await page.getByRole('cell', { name: 'vote' }).first().waitFor()
    expect(complaints).toEqual([])
    await context.close()

    await demo.says(/Ctrl-C ends everything; by itself/)
    demo.child.kill('SIGINT')
    expect(await demo.exit(), demo.output()).toBe(0)
    expect(await startedProcesses(data)).toEqual([])
  })
})
