import { describe, expect, it } from 'vitest'
import type { SeenAgent } from '../../src/domain/agent.ts'
import { fieldOf } from './browser.ts'
import { listenFor, PUBLIC_URL } from './listening.ts'
import { fakeAgents, ISSUER, personOf, TRIPPED } from './people.ts'

const PEOPLE = [
  personOf('rita'),
  personOf('otto', { roles: ['reviewer', 'operator'] }),
  personOf('olivia', { roles: ['reviewer', 'operator'] }),
]
const AGENT = { issuer: ISSUER, subject: 'support-agent' }

async function serve({ others = [] }: { others?: readonly SeenAgent[] } = {}) {
  const agents = fakeAgents(others)
  const { base, browserOf } = await listenFor(PEOPLE, { agents })

  async function post(path: string, token: string, body: object) {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const response = await fetch(`${base}/v1/agents/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
    return { status: response.status, json: await response.json() }
  }

  function browse(subject: string) {
    const browser = browserOf(subject)
    const at = (path: string) => PUBLIC_URL + path
    return {
      get: (path: string) => browser.get(at(path)),
      async post(path: string, fields: Record<string, string>) {
        const { text } = await browser.get(at('/agents'))
        return browser.post(at(path), { csrf: fieldOf(text, 'csrf'), ...fields })
      },
    }
  }
  return { agents, post, browse, base }
}

describe('the kill switch, for programs', () => {
  it('lists, stops and resumes, for the reason that was given', async () => {
    const { agents, post, base } = await serve()
    expect(await post('suspend', 'rita', { ...AGENT, reason: 'runs wild' })).toMatchObject({
      status: 200,
      json: { changed: true, agent: { ...AGENT, suspension: { by: { subject: 'rita' }, reason: 'runs wild' } } },
    })
    const listed = await fetch(`${base}/v1/agents`, { headers: { authorization: 'Bearer rita.read' } })
    expect(await listed.json()).toMatchObject({ agents: [{ ...AGENT, calls: 12, holds: 3, denials: 1 }] })
    expect(await post('resume', 'otto', { ...AGENT, reason: 'mended' })).toMatchObject({
      json: { changed: true, agent: { suspension: null } },
    })
    expect(agents.requests).toMatchObject([
      { way: 'suspend', agent: AGENT, reason: 'runs wild', via: 'api', by: { subject: 'rita' } },
      { way: 'resume', agent: AGENT, reason: 'mended', via: 'api', by: { subject: 'otto' } },
    ])
  })

  it('says which circuit breaker stopped an agent, or holds it', async () => {
    const { base } = await serve({ others: TRIPPED })
    const listed = await fetch(`${base}/v1/agents`, { headers: { authorization: 'Bearer rita.read' } })
    const since = '2023-11-14T22:13:20.000Z'
    expect(await listed.json()).toMatchObject({
      agents: [
        { suspension: null, held_by: [] },
        { suspension: { since, breaker: 'guard/deletions', reason: 'more than 20 calls within 10m' }, held_by: [] },
        {
          suspension: null,
          held_by: [
            { breaker: 'guard/probing', since },
            { breaker: 'guard/slow', since },
          ],
        },
      ],
    })
  })

  it('tells those on the agent’s side that somebody else has to resume it', async () => {
    const { post } = await serve()
    const { status, json } = await post('resume', 'olivia', { ...AGENT, reason: 'it is mine' })
    expect([status, json]).toMatchObject([403, { code: 'own_side' }])
  })

  it('refuses an issuer of which nobody can call, and names those that there are', async () => {
    const { post } = await serve()
    const { status, json } = await post('suspend', 'rita', { ...AGENT, issuer: `${ISSUER}/`, reason: 'x' })
    expect([status, json]).toMatchObject([
      422,
      { code: 'unknown_issuer', detail: expect.stringContaining(`The issuers are: ${ISSUER}.`) },
    ])
  })

  it.each([
    ['person', 'You have stopped 100 that never called'],
    ['everybody', '100 are stopped that never called'],
  ] as const)('refuses to stop more that never called, by %s', async (of, detail) => {
    const { agents, post, browse } = await serve()
    agents.suspend = async () => ({ done: false, fault: 'too_many_suspended', most: 100, of })
    const body = { ...AGENT, subject: 'made up', reason: 'x' }
    const problem = { code: 'too_many_suspended', detail: expect.stringContaining(detail) }
    expect(await post('suspend', 'rita', body)).toMatchObject({ status: 409, json: problem })
    const shown = await browse('rita').post('/agents/suspend', body)
    expect([shown.status, shown.text]).toEqual([409, expect.stringContaining(detail)])
  })

  it.each([
    ['no reason', { ...AGENT }],
    ['an empty reason', { ...AGENT, reason: '' }],
    ['a blank reason', { ...AGENT, reason: ' \n ' }],
    ['no subject', { issuer: ISSUER, subject: '', reason: 'x' }],
    ['an issuer that could be another party', { issuer: `${ISSUER}|support`, subject: 'agent', reason: 'x' }],
    ['a NUL', { ...AGENT, subject: 'a\0b', reason: 'x' }],
    ['an unknown field', { ...AGENT, reason: 'x', by: 'rita' }],
  ])('refuses %s', async (_what, body) => {
    const { agents, post } = await serve()
    expect(await post('suspend', 'rita', body)).toMatchObject({ status: 400, json: { code: 'malformed' } })
    expect(agents.requests).toEqual([])
  })

  it.each(['suspend', 'resume'])('does not %s for a token that only reads', async (way) => {
    const { agents, post } = await serve()
    const answer = await post(way, 'otto.read', { ...AGENT, reason: 'x' })
    expect(answer).toMatchObject({ status: 403, json: { code: 'read_only_token' } })
    expect(agents.requests).toEqual([])
  })
})

describe('the page of agents', () => {
  it('shows who calls, and stops one with a reason', async () => {
    const { agents, browse } = await serve()
    const rita = browse('rita')
    const before = await rita.get('/agents')
    expect(before.text).toMatch(
      /<th scope="row">support-agent.*?>12<\/td><td data-label="Held">3<\/td><td data-label="Denied">1<\/td>/s,
    )
    const after = await rita.post('/agents/suspend', { ...AGENT, reason: 'runs wild\r\n<b>' })
    expect(after.url.pathname).toBe('/agents')
    expect(after.text).toContain('runs wild')
    expect(after.text).toContain(`title="${ISSUER}|rita">rita the person</span>`)
    expect(after.text).not.toContain('<b>runs')
    expect(after.text).toContain('&lt;b&gt;')
    expect(agents.requests).toMatchObject([{ way: 'suspend', reason: 'runs wild\n<b>', via: 'console' }])
    // Only those who may resume are offered it.
    expect(after.text).not.toContain('action="/agents/resume"')
    expect((await browse('otto').get('/agents')).text).toContain('action="/agents/resume"')
  })

  it('says of one that was never seen that it has not called, and refuses an issuer of which nobody can call', async () => {
    const { browse } = await serve()
    const rita = browse('rita')
    const ghost = { issuer: ISSUER, subject: 'suport-agent', reason: 'runs wild' }
    const typo = await rita.post('/agents/suspend', { ...ghost, issuer: `${ISSUER}/` })
    expect([typo.status, typo.text]).toEqual([422, expect.stringContaining(`The issuers are: ${ISSUER}.`)])
    // It is mended there, not written anew.
    expect(typo.text).toContain('required value="suport-agent"')
    const never = 'No agent of this name has called yet'
    expect((await rita.get('/agents')).text).not.toContain(never)
    expect((await rita.post('/agents/suspend', ghost)).text).toContain(never)
  })

  it('says so of one that the person will not find among the agents', async () => {
    const { agents, browse } = await serve()
    agents.hide('suport-agent')
    const { text } = await browse('rita').post('/agents/suspend', { ...AGENT, subject: 'suport-agent', reason: 'x' })
    expect(text).toMatch(/suport-agent is stopped.*No agent of this name has called yet/s)
  })

  it('counts what is stopped for those alone who see every agent', async () => {
    const { browse } = await serve()
    expect((await browse('rita').get('/agents')).text).toMatch(
      /Stopped <\/h2>\s*<p class="empty">None that you may see\./,
    )
    expect((await browse('otto').get('/agents')).text).toMatch(/Stopped <span class="count">0<.*>None\.</s)
  })

  it('resumes, but not for somebody on the agent’s side', async () => {
    const { agents, browse } = await serve()
    await browse('rita').post('/agents/suspend', { ...AGENT, reason: 'runs wild' })
    const own = await browse('olivia').post('/agents/resume', { ...AGENT, reason: 'it is mine' })
    expect([own.status, own.text]).toEqual([403, expect.stringContaining('somebody else has to resume it')])
    const done = await browse('otto').post('/agents/resume', { ...AGENT, reason: 'mended' })
    expect([done.status, done.text.includes('Runs')]).toEqual([200, true])
    expect(agents.requests.map(({ way }) => way)).toEqual(['suspend', 'resume', 'resume'])
  })

  it('says which circuit breaker stopped an agent, or holds it, and lets it be resumed', async () => {
    const { agents, browse } = await serve({ others: TRIPPED })
    const { text } = await browse('otto').get('/agents')
    expect(text).toMatch(/wild-agent.*tripped by the circuit breaker <code>guard\/deletions<\/code>/s)
    expect(text).toMatch(
      /Held by circuit breakers <span class="count">1<\/span>.*nosy-agent.*guard\/probing.*guard\/slow/s,
    )
    expect(text).toMatch(/nosy-agent.*<span class="state">Held<\/span>/s)
    expect(text).toContain('Resume nosy-agent')
    expect((await browse('rita').get('/agents')).text).not.toContain('Resume nosy-agent')
    await browse('otto').post('/agents/resume', { issuer: ISSUER, subject: 'nosy-agent', reason: 'it was a test' })
    expect(agents.requests).toMatchObject([{ way: 'resume', agent: { subject: 'nosy-agent' }, via: 'console' }])
  })

  it('keeps what was written when the reason is missing', async () => {
    const { agents, browse } = await serve()
    const { status, text } = await browse('rita').post('/agents/suspend', { ...AGENT, subject: 'other', reason: ' ' })
    expect([status, text]).toEqual([422, expect.stringContaining('value="other"')])
    expect(agents.requests).toEqual([])
  })

  it('is filled in by a link, which stops nobody by itself', async () => {
    const { agents, browse } = await serve()
    const trick = 'good\u202etneg"><script>alert(1)</script>'
    const { status, text } = await browse('rita').get(`/agents?${new URLSearchParams({ ...AGENT, subject: trick })}`)
    expect([status, text]).toEqual([200, expect.stringContaining(`required value="${ISSUER}"`)])
    expect(text).toContain('value="good\u202etneg&quot;&gt;&lt;script&gt;')
    expect(text).toContain('<code>good⟨U+202E⟩tneg')
    expect(text).not.toContain('<script>alert')
    expect(agents.requests).toEqual([])
  })

  it.each([
    ['one word of two', 'issuer=a'],
    ['several of one', 'issuer=a&subject=b&subject=c'],
    ['one that is too long', `issuer=a&subject=${'b'.repeat(1001)}`],
  ])('ignores a link with %s', async (_what, query) => {
    const { browse } = await serve()
    const { status, text } = await browse('rita').get(`/agents?${query}`)
    expect([status, text.includes('name="subject" list="subjects" maxlength="1000" required value=""')]).toEqual([
      200,
      true,
    ])
  })

  it('writes out what an agent’s name would hide', async () => {
    const { browse } = await serve()
    const rita = browse('rita')
    const name = 'good\u202etneg"><script>alert(1)</script>'
    const { text } = await rita.post('/agents/suspend', { ...AGENT, subject: name, reason: 'a trick' })
    expect(text).not.toContain('<script>alert')
    expect(text.match(/<p><b>good(.)/u)?.[1]).not.toBe('\u202e')
  })
})
