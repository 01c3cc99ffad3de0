import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkPolicies } from '../../src/commands/policy-check.ts'
import { explainCall } from '../../src/commands/policy-explain.ts'
import { publishPolicies } from '../../src/commands/policy-publish.ts'
import { testPolicies } from '../../src/commands/policy-test.ts'
import { CONTEXT } from './world.ts'

const POLICY = `name: p
rules:
  - { name: reads, upstreams: [billing], verbs: [GET], effect: allow }
  - { name: writes, upstreams: [billing], verbs: [POST], effect: deny }
`
const CASES = (effect: string) => `principals:
  bot: { is: "https://idp.example.com|bot" }
cases:
  - name: a read
    principal: bot
    upstream: billing
    verb: GET
    resource: /a
    expect: { effect: ${effect} }
`

let directory: string
let lines: string[]
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-policies-'))
  lines = []
})
afterEach(() => rm(directory, { recursive: true, force: true }))

const command = (isJson = false) => ({
  directory,
  context: CONTEXT,
  isJson,
  print: (line: string) => void lines.push(line),
})
const write = (name: string, text: string) => writeFile(join(directory, name), text)

describe('policy check', () => {
  it('says that all is in order', async () => {
    await write('p.yaml', POLICY)
    expect(await checkPolicies({ ...command(), noResumer: null })).toBe(0)
    expect(lines).toEqual([expect.stringMatching(/^1 policy with 2 rules, in order \([0-9a-f]{12}\)$/)])
  })

  it('warns where circuit breakers stop agents for good, and not without breakers', async () => {
    await write('p.yaml', POLICY)
    expect(await checkPolicies({ ...command(), noResumer: 'nobody may' })).toBe(0)
    expect(lines).toHaveLength(1)
    const breaker = '{ name: wild, counts: calls, more_than: 5, within: 1m, then: suspend }'
    await write('p.yaml', `${POLICY}breakers:\n  - ${breaker}\n`)
    expect(await checkPolicies({ ...command(), noResumer: 'nobody may' })).toBe(0)
    expect(lines.slice(1)).toEqual([expect.stringContaining('1 circuit breaker, in order'), 'warning: nobody may'])
    lines = []
    await checkPolicies({ ...command(true), noResumer: 'nobody may' })
    expect(JSON.parse(lines.join())).toMatchObject({ ok: true, warnings: ['nobody may'] })
  })

  it('says what is not, one line each, and as JSON', async () => {
    await write('p.yaml', POLICY.replace('[GET]', '[GETT]'))
    expect(await checkPolicies({ ...command(), noResumer: null })).toBe(1)
    expect(lines).toEqual([`${directory}/p.yaml:3: rule "reads": unknown verb "GETT"; did you mean "GET"?`])
    lines = []
    expect(await checkPolicies({ ...command(true), noResumer: null })).toBe(1)
    expect(JSON.parse(lines.join())).toMatchObject({ ok: false, problems: [{ line: 3 }] })
  })
})

describe('policy test', () => {
  it('counts cases and the rules that they reach', async () => {
    await write('p.yaml', POLICY)
    await write('p.test.yaml', CASES('allow'))
    expect(await testPolicies(command())).toBe(0)
    expect(lines).toEqual(['no case reaches p/writes', '1 of 1 case passes; 1 of 2 rules is reached'])
  })

  it('fails with the case that fails, and where it is', async () => {
    await write('p.yaml', POLICY)
    await write('p.test.yaml', CASES('hold'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines[0]).toBe(`${directory}/p.test.yaml:4: a read: expected hold, got allow (rule) by p/reads`)
  })

  it('says of a condition that failed why it did', async () => {
    const amount =
      '{ name: reads, upstreams: [billing], verbs: [GET], when: \'action.facts.query.amount == ["1"]\', effect: allow }'
    await write('p.yaml', POLICY.replace(/\{ name: reads.*/, amount))
    await write('p.test.yaml', CASES('allow').replace('/a', '/a\n    facts: { query: {} }'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines[0]).toMatch(/expected allow, got deny \(condition_failed\) by p\/reads: No such key: amount$/)
  })

  it('refuses a case whose resource no call has', async () => {
    await write('p.yaml', POLICY)
    await write('p.test.yaml', CASES('allow').replace('/a', '/a/'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines[0]).toMatch(/p\.test\.yaml:8: .*"\/a\/": no resource ends in a slash; write "\/a"/)
  })

  it('fails without cases, and with cases that cannot be read', async () => {
    await write('p.yaml', POLICY)
    expect(await testPolicies(command())).toBe(1)
    expect(lines).toEqual([
      `${directory}: no cases: nothing was tested. Write some into ${directory}/p.test.yaml; \`countersign init\` shows how`,
    ])
    lines = []
    expect(await testPolicies(command(true))).toBe(1)
    expect(JSON.parse(lines.join())).toMatchObject({ ok: false, problems: [{ file: directory }] })
    lines = []
    await write('p.test.yaml', CASES('allow').replace('verb: GET', 'verbs: GET'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines).toEqual([expect.stringMatching(/p\.test\.yaml:7: .*did you mean verb\?/)])
    lines = []
    await write('p.test.yaml', CASES('allow').replace('upstream: billing', 'upstream: nowhere'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines).toEqual([expect.stringMatching(/case "a read": no upstream is called "nowhere"/)])
    lines = []
    await write('p.test.yaml', CASES('allow').replace('principal: bot', 'principal: constructor'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines).toEqual([expect.stringMatching(/no principal is called "constructor"/)])
    lines = []
    await write('p.test.yaml', CASES('allow').replace('resource: /a', 'resource: /a\n    facts: { bodi: 1 }'))
    expect(await testPolicies(command())).toBe(1)
    expect(lines).toEqual([expect.stringMatching(/http has no fact "bodi"/)])
  })
})

describe('policy explain', () => {
  const call = (verb: string) =>
    `principal: { is: "https://idp.example.com|bot" }\nupstream: billing\nverb: ${verb}\nresource: /a\n`

  it('says which rule decides', async () => {
    await write('p.yaml', POLICY)
    expect(await explainCall(command(), { file: 'call.yaml', text: call('POST') })).toBe(0)
    expect(lines).toEqual([
      'deny: by rule p/writes',
      '',
      'POST /a',
      '  p/writes: decides: deny',
      '  p/reads: is about another verb',
    ])
    lines = []
    expect(await explainCall(command(true), { file: 'call.yaml', text: call('GET') })).toBe(0)
    expect(JSON.parse(lines.join())).toMatchObject({
      verdict: { effect: 'allow' },
      actions: [{ rules: [{ result: 'matches' }, {}] }],
    })
  })

  it('takes a caller by name, of principals that stand beside', async () => {
    await write('p.yaml', POLICY)
    const named = `principals:\n  bot: { is: "https://idp.example.com|bot" }\n${call('GET').replace(/\{.*\}/, 'bot')}`
    expect(await explainCall(command(), { file: 'call.yaml', text: named })).toBe(0)
    expect(lines[0]).toBe('allow: by rule p/reads')
  })

  it('says how a caller is described if there is none of that name', async () => {
    await write('p.yaml', POLICY)
    expect(await explainCall(command(), { file: 'call.yaml', text: `${call('GET').replace(/\{.*\}/, 'agent')}` })).toBe(
      1,
    )
    expect(lines).toEqual([
      'call.yaml: no principal is called "agent": describe it, principal: { is: "https://idp.example.com|agent-1" }, or name it under principals:',
    ])
  })

  it.each([
    ['an upstream', 'upstream: billing', 'upstream: biling', 'no upstream is called "biling"; did you mean "billing"?'],
    ['a verb', 'verb: GET', 'verb: get', 'http has no verb "get"; did you mean "GET"?'],
    ['a fact', 'resource: /a', 'resource: /a\nfacts: { bodi: 1 }', 'http has no fact "bodi"; did you mean "body"?'],
    ['a resource', 'resource: /a', 'resource: a/b', 'a resource of http begins with a slash; write "/a/b"'],
  ])('says of %s that cannot be what it is instead', async (_what, good, bad, message) => {
    await write('p.yaml', POLICY)
    expect(await explainCall(command(), { file: 'call.yaml', text: call('GET').replace(good, bad) })).toBe(1)
    expect(lines).toEqual([`call.yaml: ${message}`])
  })

  it('refuses a description it cannot read', async () => {
    await write('p.yaml', POLICY)
    expect(await explainCall(command(), { file: 'call.yaml', text: 'upstream: billing' })).toBe(1)
    expect(lines).toEqual([expect.stringMatching(/^call\.yaml:1: principal: /)])
  })
})

describe('policy publish', () => {
  const publish = (result: Awaited<ReturnType<Parameters<typeof publishPolicies>[0]['store']['publish']>>) =>
    publishPolicies({
      store: { publish: async () => result },
      by: 'alice',
      isJson: false,
      print: (line) => void lines.push(line),
    })

  it('says what became of it', async () => {
    expect(await publish({ result: 'published', version: 7 })).toBe(0)
    expect(await publish({ result: 'known', version: 7, isActive: true })).toBe(0)
    expect(await publish({ result: 'refused', problems: [{ file: 'p.yaml', line: 3, message: 'is wrong' }] })).toBe(1)
    expect(lines).toEqual([
      'published as version 7',
      'version 7 is the same and is active: nothing to publish',
      'p.yaml:3: is wrong',
    ])
  })
})
