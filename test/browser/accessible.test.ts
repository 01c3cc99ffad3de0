import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PageName } from '../../src/control/console/access.ts'
import type { Requirement } from '../../src/domain/verdict.ts'
import { HOSTILE, hostileCall } from '../control/console-held.ts'
import { type ConsoleWorld, startConsole } from '../control/console-world.ts'
import { grantOn, personOf, refund } from '../control/people.ts'
import { faultsOf, overflowOf } from './axe.ts'
import { BROWSING_MS, type Chromium, isSkipped, launch, signIn, visit } from './chromium.ts'

const ID = '7Q3F000000'
const EVIL = '7Q3F000001'
const DONE = '7Q3F000002'
const OWN = '7Q3F000003'
const GRANTING = '7Q3F000004'

const PEOPLE = ['finn', 'aud', 'otto'] as const

interface Look {
  readonly who: (typeof PEOPLE)[number]
  readonly path: string
  /** What is done there before it is looked at; nothing that changes what others see. */
  readonly act?: (page: Page) => Promise<void>
}

/** Every page that there is, or why one is none: what is mounted and not here does not compile. */
const LOOKS: Readonly<Record<PageName, readonly Look[] | string>> = {
  'GET /': [{ who: 'finn', path: '/' }],
  'GET /history': finnAt('/history', '/history?from=2026-01-01'),
  'GET /live': 'a stream',
  'GET /approvals/:id': finnAt(...[ID, EVIL, DONE, OWN, GRANTING, '0000000000'].map((id) => `/approvals/${id}`)),
  'POST /approvals/:id/approve': [{ who: 'finn', path: `/approvals/${ID}`, act: approveAnotherCard }],
  'POST /approvals/:id/deny': [{ who: 'finn', path: `/approvals/${ID}`, act: denyWithoutReason }],
  'POST /approvals/:id/grant': [{ who: 'finn', path: `/approvals/${GRANTING}`, act: readGrant }],
  'POST /approvals/:id/override': 'the page of the approval, as with a vote; its form is seen here',
  'POST /approvals/:id/ask': [{ who: 'finn', path: `/approvals/${GRANTING}`, act: askNothing }],
  'POST /approvals/:id/claim': 'the page of the approval, which says who looks at it',
  'POST /approvals/:id/release': 'the page of the approval again',
  'GET /grants': [{ who: 'finn', path: '/grants' }],
  'POST /grants/:id/revoke': 'the list of grants again',
  'GET /agents': [
    { who: 'otto', path: '/agents' },
    {
      who: 'finn',
      path: `/agents?${new URLSearchParams({ issuer: 'https://idp.example.com', subject: '\u202ebot' })}`,
    },
  ],
  'POST /agents/suspend': [{ who: 'otto', path: '/agents', act: stopAgent }],
  'POST /agents/resume': 'the page of agents again',
  'GET /me': PEOPLE.map((who) => ({ who, path: '/me' })),
  'POST /me/delegations': [{ who: 'otto', path: '/me', act: delegate }],
  'POST /me/delegations/end': 'the page of the person again',
  'POST /me/links/remove': 'the page of the person again',
  'POST /me/passkeys': 'the page of the person again',
  'POST /me/passkeys/remove': 'the page of the person again',
  'GET /link/:service': finnAt('/link/slack?ticket=good', '/link/slack?ticket=bad'),
  'GET /link/:service/start': finnAt('/link/slack/start?ticket=bad'),
  'GET /link/:service/callback': finnAt('/link/slack/callback?code=1'),
  'POST /link/:service': 'the page of the person, or what the pages above say',
  'GET /policy': finnAt('/policy'),
  'POST /policy/explain': [{ who: 'finn', path: '/policy', act: explain }],
  'GET /audit': [
    ...audAt('/audit', '/audit?call=7', '/audit?from=soon'),
    // Who is told that it is not for them.
    { who: 'finn', path: '/audit' },
  ],
  'GET /audit/:seq': audAt('/audit/2', '/audit/99'),
  'GET /audit/export': 'a file',
  'GET /audit/report': audAt('/audit/report', '/audit/report?from=soon'),
  'GET /audit/report/:population': 'a file',
}

function finnAt(...paths: readonly string[]): readonly Look[] {
  return paths.map((path) => ({ who: 'finn', path }))
}

function audAt(...paths: readonly string[]): readonly Look[] {
  return paths.map((path) => ({ who: 'aud', path }))
}

async function approveAnotherCard(page: Page): Promise<void> {
  await page.evaluate("document.querySelector('input[name=card_hash]').value = '00'.repeat(32)")
  await page.getByRole('button', { name: 'Approve', exact: true }).click()
  await page.getByRole('alert').waitFor()
}

async function denyWithoutReason(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Deny', exact: true }).click()
  await page.getByRole('alert').waitFor()
}

async function askNothing(page: Page): Promise<void> {
  await page.getByText('Ask the agent').click()
  await page.getByLabel('Question').fill(' ')
  await page.getByRole('button', { name: 'Ask', exact: true }).click()
  await page.getByRole('alert').waitFor()
}

async function delegate(page: Page): Promise<void> {
  // In one of the looks before.
  if ((await page.getByRole('button', { name: 'End it' }).count()) > 0) return
  await page.getByLabel('Who stands in for you').selectOption({ index: 1 })
  await page.getByLabel('Until, with that day (UTC)').fill('2026-12-24')
  await page.getByRole('button', { name: 'Let them stand in for you' }).click()
  await page.getByRole('button', { name: 'End it' }).waitFor()
}

async function readGrant(page: Page): Promise<void> {
  await page.getByText('Approve, and the same again').click()
  await page.getByRole('button', { name: 'Read what it would allow' }).click()
  await page.getByRole('button', { name: 'Approve, and grant this' }).waitFor()
}

async function stopAgent(page: Page): Promise<void> {
  await page.getByLabel('Issuer').fill('https://idp.example.com')
  await page.getByLabel('Subject').fill('support-agent')
  await page.getByLabel('Reason', { exact: true }).fill('It runs wild.')
  await page.getByRole('button', { name: 'Stop it' }).click()
  await page.getByRole('button', { name: 'Resume support-agent' }).waitFor()
}

async function explain(page: Page): Promise<void> {
  await page.getByLabel('Who calls').fill('https://idp.example.com|support-bot')
  await page.getByLabel('Verb').fill('POST')
  await page.getByLabel('Resource').fill('/refunds')
  await page.getByRole('button', { name: 'Explain' }).click()
  await page.getByText('Cannot be told yet').first().waitFor()
}

let world: ConsoleWorld
let browser: Chromium
describe.skipIf(isSkipped)('every page in a browser (needs chromium)', { timeout: BROWSING_MS }, () => {
  beforeAll(async () => {
    const starting = startConsole(
      (issuer) => {
        const requester = { ...refund(ID).approval.requester, issuer }
        const owned = { ...requester, owner: { issuer, subject: 'finn' } }
        const granting = refund(ID).approval.requirements.map(
          (one): Requirement => ({
            ...one,
            grant: { mostMs: 1_800_000, mostUses: 20, covers: 'rule', ruleHash: 'ab'.repeat(32) },
            override: [{ kind: 'group', issuerName: null, name: 'finance' }],
          }),
        )
        return [
          refund(ID, { requester }),
          hostileCall(EVIL, issuer),
          refund(DONE, { requester, state: 'denied', decidedAt: 1_700_000_100_000, reason: 'No.' }),
          refund(OWN, { requester: owned }),
          refund(GRANTING, {
            requester,
            requirements: granting,
            createdAt: Date.now(),
            expiresAt: Date.now() + 900_000,
          }),
        ]
      },
      {
        observed: ['crm'],
        grants(issuer) {
          const by = { ...personOf('finn'), issuer }
          const ask = { minutes: 30, uses: 5, covers: 'rule' } as const
          return [EVIL, GRANTING].map((id) => {
            const { approval } = id === EVIL ? hostileCall(id, issuer) : refund(id)
            return { ...grantOn(approval, { ask, by, reason: HOSTILE }), until: Date.now() + 1_800_000 }
          })
        },
      },
    )
    ;[world, browser] = await Promise.all([starting, launch()])
  })
  afterAll(async () => {
    await browser?.close()
    await world?.[Symbol.asyncDispose]()
  })

  // What a page holds is the same in all four; colours are looked at in both schemes, and what fits at both widths.
  const looks = [
    { colorScheme: 'light', width: 1200 },
    { colorScheme: 'dark', width: 390 },
  ] as const
  const all = Object.values(LOOKS).flatMap((found) => (typeof found === 'string' ? [] : found))

  describe.each(looks)('$colorScheme, $width px wide,', ({ colorScheme, width }) => {
    const options = { colorScheme, viewport: { width, height: 800 }, bypassCSP: true }

    it.each(PEOPLE)('can be used by everybody, as %s sees it', async (person) => {
      const { context, page } = await visit(browser, options)
      const faults: Record<string, readonly string[]> = {}
      const wide: string[] = []
      await signIn(page, `${world.base}/`, person)
      for (const { path, act } of all.filter(({ who }) => who === person)) {
        await page.goto(world.base + path)
        await act?.(page)
        const name = `${path}${act ? `, ${act.name}` : ''}`
        faults[name] = await faultsOf(page)
        if ((await overflowOf(page)) > 0) wide.push(name)
      }
      expect(Object.entries(faults).filter(([, found]) => found.length > 0)).toEqual([])
      expect(wide).toEqual([])
      await context.close()
    })

    it('can be used by everybody who is signed out', async () => {
      const { context, page } = await visit(browser, options)
      const faults: Record<string, readonly string[]> = {}
      await signIn(page, `${world.base}/`, 'finn')
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.getByText('You are signed out').waitFor()
      faults['/sign-out'] = await faultsOf(page)
      for (const path of ['/sign-in/callback?code=1', '/sign-in?issuer=another']) {
        await page.goto(world.base + path)
        faults[path] = await faultsOf(page)
      }
      expect(Object.entries(faults).filter(([, found]) => found.length > 0)).toEqual([])
      await context.close()
    })
  })

  it('cuts no column of a table off on a narrow screen', async () => {
    const { context, page } = await visit(browser, { viewport: { width: 390, height: 800 } })
    await signIn(page, `${world.base}/audit`, 'aud')
    const hidden = () =>
      page.evaluate("[...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth - one.clientWidth)")
    expect(await hidden()).toEqual([0])
    await page.goto(`${world.base}/agents`)
    expect(await hidden()).toEqual([0])
    const [state, denied] = ['State', 'Denied'].map((name) => page.locator(`td[data-label=${name}]`).first())
    expect([await state?.isVisible(), await denied?.isVisible()]).toEqual([true, true])
    await context.close()
  })

  it('writes times with their zone, and UTC where one points at them', async () => {
    const { context, page } = await visit(browser, { timezoneId: 'Europe/Berlin' })
    await signIn(page, `${world.base}/approvals/${DONE}`, 'finn')
    const decided = page.locator('#status time[data-moment]').first()
    expect(await decided.textContent()).toMatch(/ 23:15 CET$/)
    expect(await decided.getAttribute('title')).toBe('2023-11-14 22:15:00 UTC')
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
