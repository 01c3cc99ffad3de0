import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Requirement } from '../../src/domain/verdict.ts'
import { type ConsoleWorld, startConsole } from '../control/console-world.ts'
import { refund } from '../control/people.ts'
import { faultsOf, overflowOf } from './axe.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, visit } from './chromium.ts'

const ID = '7Q3F000000'
const OTHER = '7Q3F000001'

let world: ConsoleWorld
let browser: Chromium
describe.skipIf(isSkipped)('grants and overrides in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    const starting = startConsole((issuer) => {
      const { requester, requirements } = refund(ID).approval
      const asked = requirements.map(
        (one): Requirement => ({
          ...one,
          grant: { mostMs: 1_800_000, mostUses: 20, covers: 'rule', ruleHash: 'ab'.repeat(32) },
          override: [{ kind: 'group', issuerName: null, name: 'audit' }],
        }),
      )
      return [ID, OTHER].map((id) =>
        refund(id, { requester: { ...requester, issuer }, requirements: asked, createdAt: Date.now() }),
      )
    })
    ;[world, browser] = await Promise.all([starting, launch()])
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
  })

  it('a grant is read before it is given, and revoked where it is listed', async () => {
    const { context, page } = await visit(browser, { viewport: { width: 390, height: 800 }, bypassCSP: true })
    await signIn(page, `${world.base}/approvals/${ID}`, 'finn')
    const faults = [await faultsOf(page)]
    await page.getByLabel('The same is').selectOption('rule')
    await page.getByRole('button', { name: 'Read what it would allow' }).click()
    await page.getByText('whatever its resource and its content').waitFor()
    expect(world.queue.ballots).toEqual([])
    faults.push(await faultsOf(page))
    await page.getByRole('button', { name: 'Approve, and grant this' }).click()
    await page.getByText('Granted with it').waitFor()
    faults.push(await faultsOf(page))
    await page.goto(`${world.base}/grants`)
    faults.push(await faultsOf(page))
    await page.getByRole('button', { name: 'Revoke grant' }).click()
    await page.getByText('None is in force').waitFor()
    faults.push(await faultsOf(page))
    expect(faults.flat()).toEqual([])
    expect(await overflowOf(page)).toBe(0)
    await context.close()
  })

  it('an override goes through a sign-in of its own', async () => {
    const { context, page } = await visit(browser, { bypassCSP: true })
    await signIn(page, `${world.base}/approvals/${OTHER}`, 'aud')
    await page.getByText('Override the reviewers').click()
    await page.getByRole('link', { name: 'sign in again' }).click()
    await page.getByRole('button', { name: 'aud', exact: true }).click()
    await page.waitForURL(`${world.base}/approvals/${OTHER}`)
    await page.getByText('Override the reviewers').click()
    await page.getByLabel('Why it cannot wait for them').fill('The shop is down.')
    expect(await faultsOf(page)).toEqual([])
    await page.getByRole('button', { name: 'Override', exact: true }).click()
    await page.getByText('in place of the reviewers, through console').waitFor()
    await context.close()
  })
})
