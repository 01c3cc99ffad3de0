import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { faultsOf } from './axe.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, type Visit, visit } from './chromium.ts'
import { startWhole, type WholeWorld } from './world.ts'

const POLICY = `
name: billing
rules:
  - { name: refunds, upstreams: [billing], verbs: [POST], effect: hold, approval: { reviewers: ["group:finance"], assurance: passkey } }
`

let world: WholeWorld
let browser: Chromium
const visits: Visit[] = []
describe.skipIf(isSkipped)('a passkey in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    // Browsers make passkeys for a name only.
    const whole = startWhole({}, { policy: POLICY, host: 'localhost' })
    ;[world, browser] = await Promise.all([whole, launch()])
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

  /** A browser with a device that checks its person, who is there unless `isPersonThere` is false. */
  async function open(options: Parameters<typeof visit>[1] = {}) {
    const made = await visit(browser, options)
    visits.push(made)
    const devtools = await made.context.newCDPSession(made.page)
    await devtools.send('WebAuthn.enable')
    const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
      },
    })
    const verify = (isUserVerified: boolean) =>
      devtools.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified })
    return { page: made.page, verify }
  }

  const stateOf = async (id: string) =>
    (await world.admin.query('SELECT state FROM countersign.approval WHERE id = $1', [id])).rows[0]?.state

  async function addPasskey(page: Page): Promise<void> {
    await page.getByRole('link', { name: 'Add a passkey to approve' }).click()
    await page.getByRole('link', { name: 'Sign in again to add a passkey' }).click()
    await page.getByRole('button', { name: 'finn', exact: true }).click()
    await page.getByLabel('Name, to tell it from others').fill('laptop')
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByRole('button', { name: 'Remove laptop' }).waitFor()
  }

  it('is added after a fresh sign-in, and approves what a rule asks one for', async () => {
    const path = '/refunds/passkey'
    const id = await world.abandon(world.gateway, path)
    const { page, verify } = await open()
    const at = `${world.base}/approvals/${id}`
    await signIn(page, at, 'finn')
    await page.getByText('with a passkey').first().waitFor()
    await addPasskey(page)

    // A device that does not know its person proves nothing.
    await page.goto(at)
    await verify(false)
    await page.getByRole('button', { name: 'Approve with a passkey' }).click()
    await page.getByText('Nothing was sent: the browser gave no passkey').waitFor()
    expect(await stateOf(id)).toBe('pending')

    await verify(true)
    await page.getByRole('button', { name: 'Approve with a passkey' }).click()
    await page.getByText('Finn from finance approved').waitFor()
    expect(await stateOf(id)).toBe('approved')
    const { rows } = await world.admin.query(
      `SELECT convert_from(body, 'UTF8') AS body FROM countersign.audit_log WHERE approval_id = $1 AND kind = 'vote'`,
      [id],
    )
    expect(rows).toEqual([{ body: expect.stringContaining('"assurance":"passkey"') }])
    expect((await world.call(world.gateway, path)).status).toBe(200)
  })

  it('is not needed to deny, and is listed where everybody can use it', async () => {
    const id = await world.abandon(world.gateway, '/refunds/denied')
    const { page } = await open({ bypassCSP: true })
    await signIn(page, `${world.base}/approvals/${id}`, 'finn')
    await page.getByLabel('Reason').fill('not this one')
    await page.getByRole('button', { name: 'Deny', exact: true }).click()
    await page.getByText('Finn from finance denied').waitFor()
    expect(await stateOf(id)).toBe('denied')
    await page.goto(`${world.base}/me`)
    await page.getByRole('button', { name: 'Remove laptop' }).waitFor()
    expect(await faultsOf(page)).toEqual([])
  })
})
