import { describe, expect, it } from 'vitest'
import { renderCard } from '../../src/channels/slack/card.ts'
import type { Payload } from '../../src/domain/card.ts'
import type { RequestModel } from '../../src/protocols/http/model.ts'
import { presentRequest } from '../../src/protocols/http/present.ts'
import { buttonsOf, makeApproval, makeCard, readable } from '../channels/slack/samples.ts'

/** A reviewer sees what would be forwarded, or is not offered to approve it where they look. */

const MODEL: RequestModel = {
  method: 'POST',
  path: '/transfers',
  decodedPath: '/transfers',
  query: '',
  headers: [],
  contentType: null,
  contentEncoding: null,
  contentLength: 0,
  upgrade: null,
}
const JSON_TYPE = { contentType: 'application/json' }

function present(model: Partial<RequestModel>, body = '', shown: readonly string[] = []): Payload {
  return presentRequest({ ...MODEL, ...model }, Buffer.from(body), new Set(shown))
}

function slack(payload: Payload) {
  const card = makeCard({ derived: { payload, actions: [{ verb: 'POST', resource: '/transfers' }] } })
  const publicUrl = 'https://approvals.example.com'
  const { blocks } = renderCard({ approval: makeApproval(), card, detail: 'full', publicUrl })
  return { text: readable(blocks), isApprovable: buttonsOf(blocks).includes('countersign.approve') }
}

describe('a call that says everything outside its body', () => {
  it('has its query on the card', () => {
    const { text, isApprovable } = slack(present({ query: 'to=mallory&amount=1000000' }))
    expect(text).toContain('query "to": "mallory"')
    expect(text).toContain('query "amount": "1000000"')
    expect(isApprovable).toBe(true)
  })

  it('has the headers on the card that a configuration lets pass', () => {
    const { text } = slack(present({ headers: ['x-billing-to', 'mallory'] }, '', ['x-billing-to']))
    expect(text).toContain('header x-billing-to: mallory')
  })

  it('is not approved on a card that had to leave something of it out', () => {
    expect(slack(present({ query: `note=${'a'.repeat(25_000)}` })).isApprovable).toBe(false)
    expect(slack(present({ query: 'password=hunter2hunter2' })).isApprovable).toBe(false)
  })

  it('has nothing on the card where there is nothing', () => {
    expect(slack(present({}))).toMatchObject({ text: expect.stringContaining('No payload.'), isApprovable: true })
  })
})

describe('what looks like something else', () => {
  it('is told apart: a path whose escaped characters look like a query', () => {
    const { text } = present({ path: '/transfers%3Fdry_run=true', decodedPath: '/transfers?dry_run=true' })
    expect(text).toBe('path /transfers%3Fdry_run=true')
  })

  it('is told apart: text that looks like what the gateway says of the query', () => {
    const fake = 'query "dry_run": "true"\nheader x-billing-mode: test'
    expect(present({ contentType: 'text/plain' }, fake).text).toBe(`body:\n${fake}`)
  })

  it('is told apart: a string of JSON that looks like an object', () => {
    expect(present(JSON_TYPE, '"{\\n  \\"amount\\": 1\\n}"').text).toBe('"{\\n  \\"amount\\": 1\\n}"')
  })

  it('is told apart: a media type whose parameters mean something', () => {
    const contentType = 'application/json; v=2'
    expect(present({ contentType, headers: ['content-type', contentType] }, '{}').text).toContain(contentType)
    const usual = 'application/json; charset=UTF-8'
    expect(present({ contentType: usual, headers: ['content-type', usual] }, '{}').text).toBe('{}')
  })
})

describe('a header that chooses what a call does', () => {
  it('is on the card, unless it says what every client says', () => {
    const lines = (accept: string) => present({ headers: ['accept', accept] }).text
    expect(lines('application/vnd.billing.v0+json')).toBe('header accept: application/vnd.billing.v0+json')
    expect(lines('application/json;dry_run=false')).toContain('dry_run')
    for (const usual of ['*/*', 'application/json', 'application/json, text/plain, */*']) expect(lines(usual)).toBe('')
  })
})

describe('a body that is made to be hard to show', () => {
  const MIB = 1024 * 1024
  const cases: readonly (readonly [string, string])[] = [
    ['a text that begins like the scheme of a URL', JSON.stringify({ a: 'a'.repeat(MIB) })],
    ['many such texts', JSON.stringify(Array.from({ length: 50 }, () => 'a'.repeat(20_000)))],
    ['text that begins like a token again and again', JSON.stringify({ a: 'eyJaaaaa-'.repeat(MIB / 9) })],
    ['text that begins like a token, with dots', JSON.stringify({ a: 'eyJaaaaa..'.repeat(MIB / 10) })],
    ['text that begins like a key', JSON.stringify({ a: '-----BEGIN A'.repeat(MIB / 12) })],
    ['text that begins like a header', JSON.stringify({ a: `bearer${' '.repeat(MIB)}` })],
    ['text that begins like a URL', JSON.stringify({ a: '://a:'.repeat(MIB / 5) })],
    ['many values, deep down', `${'['.repeat(60)}${'1,'.repeat(MIB / 2)}1${']'.repeat(60)}`],
    ['many secrets under a long name', `{"${'k'.repeat(MIB / 2)}":[${'{"pin":1},'.repeat(MIB / 20)}1]}`],
    ['many secrets', `[${'{"pin":1},'.repeat(MIB / 10)}1]`],
    ['one long name', `{"${'k'.repeat(MIB)}":1}`],
    ['invisible characters', JSON.stringify({ a: '\u202e'.repeat(MIB / 3) })],
  ]
  it.each(cases)('%s costs little to show, and little room', (_what, body) => {
    const startedAt = performance.now()
    const payload = present(JSON_TYPE, body)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
    expect(JSON.stringify(payload).length).toBeLessThan(120_000)
    expect(payload.isCut).toBe(true)
    expect(slack(payload).isApprovable).toBe(false)
  })
})

describe('a secret', () => {
  const JWT = 'eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln'
  it.each([
    ['after a dash', `x-${JWT}`],
    ['after a dotted name', `api.example.com.${JWT}`],
    ['without a signature', 'eyJhbGciOiJub25lIn0.eyJhIjoxfQ.'],
    ['behind many characters', `${' '.repeat(19_990)}${JWT}${'a'.repeat(5_000)}`],
    ['in a URL', 'https://alice:hunter2hunter2@db.internal/x'],
    ['in a header', 'Authorization: Bearer abcdefgh12345678'],
  ])('is not shown: %s', (_what, text) => {
    const payload = present(JSON_TYPE, JSON.stringify({ note: text }))
    expect(payload.text).not.toMatch(/eyJ|hunter2|abcdefgh/)
    expect(payload.redacted).toEqual(['/note'])
    expect(payload.isCut).toBe(true)
  })

  it.each(['eyJ', 'see v1.2.3 of eyJson', 'a.b.c.d', 'http://host:80/a@b'])('is not found in %s', (text) => {
    expect(present(JSON_TYPE, JSON.stringify({ note: text })).redacted).toEqual([])
  })
})
