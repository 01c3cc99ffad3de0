import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { csvLine } from '../../src/control/console/csv.ts'
import { type Browser, fieldOf } from './browser.ts'
import { HOSTILE } from './console-held.ts'
import { type ConsoleWorld, startConsole } from './console-world.ts'
import { AGENT, personOf, refund } from './people.ts'

const DENIED = '7Q3F000001'
const GONE = '7Q3F000002'

let world: ConsoleWorld
let aud: Browser
let finn: Browser
beforeAll(async () => {
  world = await startConsole((issuer) => {
    const requester = { ...AGENT, issuer }
    const fay = { ...personOf('fay'), issuer, name: 'Fay <then>' }
    const vote = { reviewer: fay, decision: 'deny', reason: 'No.', via: 'slack', at: 1_700_000_100_000 } as const
    const waiting = Array.from({ length: 101 }, (_, index) => {
      const mine = refund(`7Q3G${String(index).padStart(6, '0')}`, { requester })
      const requirements = mine.approval.requirements.map((one) => ({ ...one, reviewers: [{ kind: 'any' as const }] }))
      return index === 0 ? mine : { ...mine, approval: { ...mine.approval, requirements, votes: [ballotOf(issuer)] } }
    })
    return [
      ...waiting,
      refund(DENIED, { requester, state: 'denied', decidedAt: 1_700_000_100_000, votes: [vote] }),
      refund(GONE, {
        requester: { ...requester, subject: 'other-agent' },
        state: 'withdrawn',
        reason: 'policy_changed',
      }),
    ]
  })
  ;[aud, finn] = await Promise.all([world.signIn('aud'), world.signIn('finn')])
})
afterAll(() => world?.[Symbol.asyncDispose]())

const get = (path: string, browser = aud) => browser.get(world.base + path)

/** That finn has voted already. */
function ballotOf(issuer: string) {
  const reviewer = { ...personOf('finn'), issuer }
  return { reviewer, decision: 'approve', reason: null, via: 'console', at: 1_700_000_000_500 } as const
}

it('says which roles open a page, and which ones a person has', async () => {
  const { status, text } = await get('/audit', finn)
  expect([status, text]).toEqual([403, expect.stringContaining('one of the roles auditor, admin. Yours: reviewer')])
})

it('says why a person can have no passkey', async () => {
  expect((await get('/me')).text).toMatch(/Your passkeys.*Browsers make none for this console.*control\.public_url/s)
})

describe('the inbox', () => {
  it('shows what waits for a person, however much waits for others', async () => {
    const { text } = await get('/', finn)
    const [mine = '', others = ''] = text.split('Waiting for others')
    expect(mine).toContain('/approvals/7Q3G000000')
    expect(mine).toMatch(/Waiting for you <span class="count">1</)
    expect(others.match(/\/approvals\//g)).toHaveLength(100)
    expect(others).toContain('100</span>')
  })
})

describe('the history', () => {
  const idsIn = (text: string) => [...text.matchAll(/href="\/approvals\/(\w+)"/g)].map(([, id]) => id)

  it('says who decided, or why nobody did', async () => {
    const { text } = await get('/history')
    expect(idsIn(text).toSorted()).toEqual([DENIED, GONE])
    expect(text).toContain('by Fay &lt;then&gt;')
    expect(text).toContain('withdrawn: policy changed')
  })

  it.each([
    ['state=denied', [DENIED]],
    ['agent=other-agent', [GONE]],
    ['reviewer=fay', [DENIED]],
    ['reviewer=finn', []],
    ['upstream=shop', []],
    ['state=', [DENIED, GONE]],
  ])('finds by %s', async (query, ids) => {
    const { status, text } = await get(`/history?${query}`)
    expect([status, idsIn(text).toSorted()]).toEqual([200, ids])
  })

  it('says when it was decided, and when it was asked', async () => {
    const { text } = await get('/history?state=denied')
    expect(text).toMatch(/>Denied<\/span> <time datetime="2023-11-14T22:15:00.000Z".*<small>asked <time/)
  })

  it('offers each state in the words that its rows have', async () => {
    const { text } = await get('/history?state=denied')
    const options = [...text.matchAll(/<option value="(\w*)"( selected)?>([^<]+)</g)]
    expect(options.map(([, value, selected, words]) => [value, words, selected !== undefined])).toEqual([
      ['', 'any', false],
      ['denied', 'Denied', true],
      ['spent', 'Approved and forwarded', false],
      ['withdrawn', 'Withdrawn', false],
      ['expired', 'Expired', false],
    ])
  })

  it('says what it cannot look for', async () => {
    expect((await get('/history?from=soon')).status).toBe(422)
    expect((await get('/history?state=pending')).status).toBe(400)
  })
})

/** What of a page is not escaped text: an element or an attribute that was not ours. */
function expectHarmless(text: string): void {
  expect(text).not.toMatch(/<img|<script(?! type="module" src="\/assets\/)|[\u202e\u2066\0]/)
  expect(text).toContain('&lt;img src=x')
  expect(text).toContain('⟨U+202E⟩')
}

describe('the audit page', () => {
  it('shows entries newest first, how the chain stands, and what it was asked for', async () => {
    const { status, text } = await get('/audit')
    expect(status).toBe(200)
    const seqs = [...text.matchAll(/href="\/audit\/(\d+)"/g)].map(([, seq]) => seq)
    expect(seqs).toEqual(['3', '2', '1'])
    expect(text).toContain('entry 3')
    expect(text).toContain('nothing that this gateway can check')
    const asked = await get('/audit?upstream=billing&kind=vote&agent=%22%3E%3Cb%3E&from=2026-01-01T00:00')
    expect(asked.text).toContain('value="&quot;&gt;&lt;b&gt;"')
    expect(asked.text).toContain('<option value="vote" selected>vote</option>')
    expect(asked.text).toContain('format=csv')
  })

  it('pages by the number of an entry', async () => {
    const { text } = await get('/audit?before=3')
    expect([...text.matchAll(/href="\/audit\/(\d+)"/g)].map(([, seq]) => seq)).toEqual(['2', '1'])
    expect(text).toContain('Newest')
  })

  it.each([
    ['a call that is none', 'call=7', 'a call is named by its id'],
    ['a time that is none', 'from=yesterday', 'a time is written as'],
    ['a day that is none', 'from=2026-13-45', 'a time is written as'],
    ['a NUL', 'agent=a%00b', 'has a NUL'],
  ])('says what it cannot look for: %s', async (_case, query, says) => {
    for (const path of [`/audit?${query}`, `/audit/export?${query}`]) {
      const seen = await get(path)
      expect([seen.status, seen.text]).toEqual([422, expect.stringContaining(says)])
    }
  })

  it.each(['before=-1', 'before=x', 'before=1e3', `agent=${'x'.repeat(1001)}`, 'agent=a&agent=b'])(
    'does not understand %s',
    async (query) => {
      expect((await get(`/audit?${query}`)).status).toBe(400)
    },
  )

  it('renders harmless what somebody wrote into any column', async () => {
    for (const path of ['/audit', '/audit/2', '/audit/1', '/audit/3']) expectHarmless((await get(path)).text)
  })
})

describe('an entry', () => {
  it('has all its columns, its body over several lines, and its neighbours', async () => {
    const { text } = await get('/audit/3')
    for (const part of [
      'prev_hash',
      'policy_version',
      '/refunds/3',
      '&quot;n&quot;: 3',
      'href="/audit/2"',
      'After: none',
    ]) {
      expect(text).toContain(part)
    }
    expect(text).toContain('/audit?call=01a1f933-840d-7755-add4-000000000003')
  })

  it.each(['99', '0', 'x', '-1', '9'.repeat(30)])('that is not there is not found: %s', async (seq) => {
    expect((await get(`/audit/${seq}`)).status).toBe(404)
  })
})

describe('an export', () => {
  it('is a file of what was looked for, oldest first', async () => {
    const { headers, text } = await get('/audit/export?format=jsonl&upstream=billing')
    expect(headers.get('content-disposition')).toBe('attachment; filename="countersign-audit.jsonl"')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    const rows = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { seq: number; body: string })
    expect(rows.map(({ seq, body }) => [seq, body])).toEqual([
      [1, '{"kind":"intent","n":1}'],
      [3, '{"kind":"intent","n":3}'],
    ])
  })

  it('gives JSON lines exactly as it is in the log, and CSV so that nothing in it is a formula or another row', async () => {
    const lines = (await get('/audit/export?format=jsonl')).text.trimEnd().split('\n')
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({ subject: HOSTILE, resource: HOSTILE })
    const { headers, text } = await get('/audit/export?format=csv')
    expect(headers.get('content-type')).toMatch(/^text\/csv/)
    expect(text.trimEnd().split('\r\n')).toHaveLength(4)
    expect(text).not.toMatch(/[\u202e\u2066\0]/)
  })

  it('goes on after an entry', async () => {
    const { text } = await get('/audit/export?format=csv&after=2')
    expect(
      text
        .trimEnd()
        .split('\r\n')
        .map((line) => line.split(',')[0]),
    ).toEqual(['"seq"', '3'])
  })

  it.each([
    ['=1+1', `"'=1+1"`],
    ['+1', `"'+1"`],
    ['-2', `"'-2"`],
    ['@SUM(A1)', `"'@SUM(A1)"`],
    ['\t=1', `"'\t=1"`],
    ['  =1', `"'  =1"`],
    ['＝1', `"'＝1"`],
    ['\r=1', `"'⟨U+000D⟩=1"`],
    ['a,b"c\nd', '"a,b""c⟨U+000A⟩d"'],
    ['plain', '"plain"'],
    [null, ''],
    [-7, '-7'],
  ])('writes %j as a cell', (cell, written) => {
    expect(csvLine([cell])).toBe(`${written}\r\n`)
  })
})

describe('the auditors’ page', () => {
  it('leads to each population of a period, and says what the words mean', async () => {
    const { text } = await get('/audit/report?from=2026-01-01T00:00&until=2026-02-01T00:00')
    for (const name of ['calls', 'held', 'decisions', 'overrides', 'suspensions']) {
      expect(text).toContain(`/audit/report/${name}?from=2026-01-01T00%3A00&amp;until=2026-02-01T00%3A00`)
      const { status, headers } = await get(`/audit/report/${name}?from=2026-01-01T00:00`)
      expect([status, headers.get('content-disposition')]).toEqual([
        200,
        `attachment; filename="countersign-${name}.csv"`,
      ])
    }
    for (const word of ['agent_suspended', 'upstream_timeout', 'on_behalf_of']) expect(text).toContain(word)
    expect((await get('/audit/report')).text).toMatch(/audit\/report\/calls\?from=\d{4}-\d\d-\d\dT00%3A00"/)
    expect((await get('/audit/report?from=&until=')).text).toContain('/audit/report/calls?"')
    expect((await get('/audit/report/constructor')).status).toBe(404)
    expect((await get('/audit/report?from=never')).status).toBe(422)
  })
})

describe('the policy page', () => {
  const call = {
    principal: 'https://idp.example.com|support-bot',
    upstream: 'billing',
    verb: 'POST',
    resource: '/refunds',
    facts: '{"body":{"amount":500}}',
  }
  async function explain(more: Partial<Record<keyof typeof call, string>> & Record<string, string> = {}) {
    const csrf = fieldOf((await get('/policy', finn)).text, 'csrf')
    return finn.post(`${world.base}/policy/explain`, { csrf, ...call, ...more })
  }

  it('shows the rules as loaded, their version and who published them', async () => {
    const { status, text } = await get('/policy', finn)
    expect([status, text]).toEqual([200, expect.stringContaining('<dd>7</dd>')])
    for (const part of ['billing/refunds', 'amount &gt; 100', 'group:finance', 'never-delete'])
      expect(text).toContain(part)
    expectHarmless(text)
  })

  it('explains which rule decides, and what each other matching rule would say', async () => {
    const { status, text } = await explain()
    expect([status, text]).toEqual([200, expect.stringContaining('Held until people decide')])
    const answer = text.split('class="block derived"')[1] ?? ''
    expect(answer).toMatch(/billing\/refunds<\/code><\/th>\s*<td data-label="Says">hold <span class="state">decides/)
    expect(answer).toMatch(/billing\/writes<\/code><\/th>\s*<td data-label="Says">allow<\/td>/)
    expect(answer).toMatch(/never-delete<\/code> It is about another verb\./)
    expect(text).toContain('value="/refunds"')
  })

  it.each([
    ['another amount', { facts: '{"body":{"amount":5}}' }, 200, 'Its condition is false.'],
    ['no facts', { facts: '' }, 200, 'Cannot be told yet'],
    ['a deny', { verb: 'DELETE' }, 200, 'The agent is told'],
    ['another upstream', { upstream: 'scratch' }, 200, 'Allowed'],
    ['nothing that matches', { verb: 'GET', facts: '' }, 200, 'no rule allows it'],
    ['facts that are none', { facts: '[1]' }, 422, 'Facts: must be a JSON object'],
    ['a fact that is none', { facts: '{"shape":1}' }, 422, 'has no fact'],
    ['an upstream that is none', { upstream: 'nowhere' }, 422, 'no upstream is called'],
    ['nobody', { principal: 'support-bot' }, 422, 'Who calls: must be'],
    ['hostile text', { resource: `/${HOSTILE.replaceAll('\0', '')}` }, 200, '&lt;img src=x'],
  ])('answers for %s', async (_case, more, status, says) => {
    const seen = await explain(more)
    expect([seen.status, seen.text]).toEqual([status, expect.stringContaining(says)])
    expect(seen.text).not.toMatch(/<img|<script>/)
  })

  it('takes no form of another site', async () => {
    expect((await finn.post(`${world.base}/policy/explain`, call)).status).toBe(403)
  })
})
