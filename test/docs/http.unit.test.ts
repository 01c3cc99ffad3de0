import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { describeResource } from '../../src/agents/discovery.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import { headerRules, sortHeaders } from '../../src/protocols/http/headers.ts'
import { httpOptions } from '../../src/protocols/http/options.ts'
import { blocks, quoted, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/http.md')

/** The headers that the gateway passes of these, and those that it says it dropped. */
function sort(names: readonly string[], allow: readonly string[]) {
  const sorted = sortHeaders(
    names.flatMap((name) => [name, 'x']),
    headerRules(allow),
    false,
  )
  if (isRefusal(sorted)) throw new Error(sorted.detail)
  return { passed: sorted.passed.filter((_, index) => index % 2 === 0), dropped: sorted.dropped }
}

describe('the headers', () => {
  const section = page.slice(page.indexOf('## Which headers pass'), page.indexOf('## What is refused'))
  const usual = quoted(section.slice(0, section.indexOf('Others pass')))
  const lower = usual.map((name) => name.toLowerCase())

  it('that pass are listed, all of them', () => {
    expect(sort(usual, []).passed).toEqual(lower)
    const source = readPage('src/protocols/http/headers.ts')
    const [, list = ''] = /^const ALLOWED = new Set\(\[(.*?)\]\)/ms.exec(source) ?? []
    expect([...list.matchAll(/'([^']+)'/g)].map(([, name]) => name).toSorted()).toEqual(lower.toSorted())
  })

  it('that never pass do not, even where they are listed', () => {
    const never = quoted(section.slice(section.indexOf('Some never pass'), section.indexOf('Of the response')))
    const names = never.map((name) => name.replace('*', 'Anything'))
    expect(names.length).toBeGreaterThan(8)
    expect(sort(names, names).passed).toEqual([])
  })

  it('that an operator lists pass, and others are named', () => {
    expect(sort(['X-GitHub-Api-Version', 'X-Other'], ['X-GitHub-*'])).toEqual({
      passed: ['x-github-api-version'],
      dropped: ['x-other'],
    })
  })
})

it('tells clients’ issuers the resources that discovery names', () => {
  const [block = ''] = blocks(page, 'yaml').filter((text) => text.includes('audiences'))
  const [{ issuer, audiences }] = parse(block).agent_issuers
  const gateway = { publicUrl: 'https://gateway.example.com', upstreams: ['billing'], authorizationServers: [issuer] }
  expect([null, 'billing'].map((upstream) => describeResource(gateway, upstream).resource)).toEqual(audiences)
})

it('tells the time-outs as they are', () => {
  const { timeouts } = httpOptions.parse({ name: 'a', protocol: 'http', url: 'http://a' })
  const minutes = Object.fromEntries(
    tableUnder(page, 'Streams and WebSockets').map(([what = '', after = '']) => [
      quoted(what)[0]?.replace('timeouts.', '') ?? what,
      Number.parseInt(after, 10) * (after.includes('hours') ? 60 : 1) * 60_000,
    ]),
  )
  expect(minutes).toMatchObject({ idle: timeouts.idle, response: timeouts.response, upgraded: timeouts.upgraded })
})
