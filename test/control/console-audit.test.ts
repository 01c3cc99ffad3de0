import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWhole, type WholeWorld } from '../browser/world.ts'
import { type Browser, fieldOf, openBrowser } from './browser.ts'

let world: WholeWorld
let aud: Browser
let finn: Browser
beforeAll(async () => {
  world = await startWhole()
  ;[aud, finn] = await Promise.all([signIn('aud'), signIn('finn')])
  await approve('/refunds/first')
  await world.call(world.gateway, '/customers', { method: 'GET' })
  await world.until(
    `SELECT FROM countersign.audit_log i JOIN countersign.audit_log o USING (call_id)
     WHERE i.kind = 'intent' AND i.resource = '/customers' AND o.kind = 'outcome'`,
  )
})
afterAll(() => world?.[Symbol.asyncDispose]())

async function signIn(as: string): Promise<Browser> {
  const browser = openBrowser()
  const asked = await browser.get(`${world.base}/`)
  await browser.post(`${asked.url.href}?as=${as}`, {})
  return browser
}

/** A call that is held, and approved by finn in the console. */
async function approve(path: string): Promise<void> {
  const calling = world.call(world.gateway, path)
  const id = await world.approvalOf(path)
  const { text } = await finn.get(`${world.base}/approvals/${id}`)
  const form = { csrf: fieldOf(text, 'csrf'), card_hash: fieldOf(text, 'card_hash'), reason: '=asked for' }
  expect((await finn.post(`${world.base}/approvals/${id}/approve`, form)).status).toBe(200)
  expect((await calling).status).toBe(200)
}

const get = (path: string, browser = aud) => browser.get(world.base + path)
const seqsIn = (text: string) =>
  [...text.matchAll(/scope="row"><a href="\/audit\/(\d+)"/g)].map(([, seq]) => Number(seq))

describe('the audit log of a gateway, in its console', () => {
  it('is found by what an auditor asks for, and its end is as it was written', async () => {
    const { status, text } = await get('/audit')
    expect(status).toBe(200)
    expect(text).toMatch(/Last entries<\/dt><dd>1 to \d+: <span class="state">(intact|agree)/)
    expect(text).not.toContain('role="alert"')
    const seqs = seqsIn(text)
    expect(seqs).toEqual(seqs.toSorted((a, b) => b - a))
    expect(seqs.at(-1)).toBe(1)

    const kindsOf = async (query: string) => {
      const seen = (await get(`/audit?${query}`)).text
      return [...seen.matchAll(/<\/time><\/td><td data-label="Kind">(\w+)<\/td>/g)].map(([, kind]) => kind)
    }
    expect(await kindsOf('reviewer=finn')).toEqual(['decided', 'vote'])
    expect(await kindsOf('agent=support-agent&kind=intent&effect=hold')).toEqual(['intent'])
    expect(await kindsOf('upstream=billing&verb=GET')).toContain('intent')
    expect(await kindsOf('agent=nobody')).toEqual([])
    expect(await kindsOf('until=2020-01-01')).toEqual([])
    expect(await kindsOf('kind=policy_published')).toEqual(['policy_published'])
  })

  it('has each entry between its neighbours, with what it commits to', async () => {
    const [seq = 0] = seqsIn((await get('/audit?kind=vote')).text)
    const { text } = await get(`/audit/${seq}`)
    for (const part of [
      'Its hash follows',
      'Finn from finance',
      'finn',
      '=asked for',
      `/audit/${seq - 1}`,
      `/audit/${seq + 1}`,
    ]) {
      expect(text).toContain(part)
    }
    expect(text).not.toContain('role="alert"')
    const call = /\/audit\?call=([0-9a-f-]{36})/.exec(text)?.[1] ?? ''
    const entries = (await get(`/audit?call=${call}`)).text
    for (const kind of ['intent', 'held', 'vote', 'decided', 'spent', 'outcome'])
      expect(entries).toContain(`<td data-label="Kind">${kind}</td>`)
  })

  it('comes as a file, as do its populations, with names as they were', async () => {
    const lines = (await get('/audit/export?format=jsonl')).text.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).seq)).toEqual(lines.map((_, index) => index + 1))
    const rows = async (name: string) => (await get(`/audit/report/${name}`)).text.trimEnd().split('\r\n')
    const [head = '', decision = ''] = await rows('decisions')
    expect(head).toContain('"reviewer_name"')
    expect(decision).toContain(`|finn","Finn from finance","group:finance","console","oidc","'=asked for"`)
    expect(await rows('calls')).toHaveLength(3)
    expect((await rows('held'))[1]).toContain('"spent"')
    expect(await rows('overrides')).toHaveLength(1)
    expect(await rows('suspensions')).toHaveLength(1)
  })

  it('is for auditors and admins only', async () => {
    for (const path of ['/audit', '/audit/1', '/audit/export', '/audit/report', '/audit/report/calls']) {
      const seen = await get(path, finn)
      expect([seen.status, seen.text.includes('support-agent')]).toEqual([403, false])
    }
    const { text } = await get('/', finn)
    expect([text.includes('href="/policy"'), text.includes('href="/audit"')]).toEqual([true, false])
  })
})

describe('the policy of a gateway, in its console', () => {
  it('is shown as it was published, and explains calls', async () => {
    const { text } = await get('/policy', finn)
    for (const part of ['<dt>Version</dt><dd>1</dd>', 'billing/refunds', 'start of']) expect(text).toContain(part)
    const seen = await finn.post(`${world.base}/policy/explain`, {
      csrf: fieldOf(text, 'csrf'),
      principal: `${world.issuer}|support-agent`,
      upstream: 'billing',
      verb: 'POST',
      resource: '/refunds',
    })
    expect([seen.status, seen.text]).toEqual([200, expect.stringContaining('Held until people decide')])
  })
})
