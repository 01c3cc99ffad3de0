import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { describeMinted } from '../../src/agents/credentials.ts'
import { describeResource } from '../../src/agents/discovery.ts'
import { CODES, isRefusal } from '../../src/domain/refusal.ts'
import { parseDuration } from '../../src/domain/units.ts'
import { isMintedUser } from '../../src/identity/minted.ts'
import { mintedLifetime, mintingOptions } from '../../src/identity/options.ts'
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
  const gateway = {
    publicUrl: 'https://gateway.example.com',
    minting: [],
    upstreams: ['billing'],
    authorizationServers: [issuer],
  }
  expect([null, 'billing'].map((upstream) => describeResource(gateway, upstream).resource)).toEqual(audiences)
})

describe('clients that log in', () => {
  const section = page.slice(page.indexOf('## Clients that log in'), page.indexOf('## For owners of upstreams'))

  it('are given what is shown', () => {
    const shown = JSON.parse(blocks(section, 'json')[0] ?? '')
    const { upstream, user, password, expires_at: end } = shown
    expect(describeMinted({ upstream, user, password, endsAt: Date.parse(end) })).toEqual(shown)
    expect(isMintedUser(user)).toBe(true)
    expect(Buffer.from(password, 'base64url')).toHaveLength(32)
  })

  it('are told how long and how many there are if nothing else is configured', () => {
    const minting = mintingOptions.parse({})
    expect(mintedLifetime(minting, Number.POSITIVE_INFINITY)).toBe(parseDuration('1h'))
    expect(section).toContain('an hour if nothing else is configured')
    expect(section).toContain(`${minting.per_principal} at a time, if nothing else is configured`)
  })

  it('are told every answer by its code and status', () => {
    const told = tableUnder(page, 'Clients that log in').flatMap(([answer = '']) => [
      ...answer.matchAll(/(\d+) `(\w+)`/g),
    ])
    expect(told.map(([, status, code]) => [code, Number(status)])).toEqual(
      told.map(([, , code = '']) => [code, Object.entries(CODES).find(([name]) => name === code)?.[1]]),
    )
    expect(told).toHaveLength(8)
  })
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
