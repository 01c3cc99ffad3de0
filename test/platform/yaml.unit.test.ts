import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { parseYaml } from '../../src/platform/yaml.ts'

const schema = z.strictObject({
  gateway: z.strictObject({ listen: z.string() }),
  upstreams: z
    .array(
      z.discriminatedUnion('protocol', [
        z.strictObject({ protocol: z.literal('http'), url: z.string() }),
        z.strictObject({ protocol: z.literal('postgres'), port: z.int() }),
      ]),
    )
    .default([]),
})

function problemsOf(text: string, substitute?: (value: string) => string) {
  const parsed = parseYaml(text, { file: 'f.yaml', schema, ...(substitute && { substitute }) })
  return parsed.ok ? [] : parsed.problems.map(({ line, message }) => `${line}: ${message}`)
}

describe('parseYaml', () => {
  it('gives the value, and the line of a path in it', () => {
    const parsed = parseYaml('gateway:\n  listen: a\nupstreams:\n  - protocol: http\n    url: u\n', {
      file: 'f',
      schema,
    })
    expect(parsed.ok && parsed.value.upstreams[0]).toEqual({ protocol: 'http', url: 'u' })
    expect(parsed.ok && parsed.lineOf(['upstreams', 0, 'url'])).toBe(5)
  })

  it('names the nearest known key of an unknown one, with its line', () => {
    expect(problemsOf('gateway:\n  listen: a\n  lisen: b\n')).toEqual([
      '3: gateway: unknown key lisen; did you mean listen?',
    ])
    expect(problemsOf('gatway:\n  listen: a\ngateway:\n  listen: a\n')).toEqual([
      '1: unknown key gatway; did you mean gateway?',
    ])
  })

  it('knows the keys of the branch of a union, and offers none of another', () => {
    const of = (protocol: string, key: string) =>
      problemsOf(`gateway: {listen: a}\nupstreams:\n  - protocol: ${protocol}\n    ${key}\n    prt: 1\n`)
    expect(of('postgres', 'port: 1')).toEqual(['5: upstreams.0: unknown key prt; did you mean port?'])
    expect(of('http', 'url: u')).toEqual(['5: upstreams.0: unknown key prt; known are protocol, url'])
  })

  it('lists the known keys where none is near', () => {
    expect(problemsOf('gateway: {listen: a}\nzzzzzzzzzz: 1\n')).toEqual([
      '2: unknown key zzzzzzzzzz; known are gateway, upstreams',
    ])
  })

  it('says of what is missing that it is required, and what for', () => {
    const owned = z.strictObject({
      owner: z
        .union([z.strictObject({ claim: z.string() }), z.literal('none')])
        .describe('Who answers: a claim, or none'),
      name: z.string().optional(),
    })
    const of = (text: string) => {
      const parsed = parseYaml(text, { file: 'f.yaml', schema: z.strictObject({ agents: z.array(owned) }) })
      return parsed.ok ? [] : parsed.problems.map(({ line, message }) => `${line}: ${message}`)
    }
    expect(of('agents:\n  - name: bot')).toEqual([
      '2: agents.0 (bot).owner: is required: Who answers: a claim, or none',
    ])
    expect(of('agents:\n  - owner: { clam: a }')).toEqual(['2: agents.0.owner: unknown key clam; did you mean claim?'])
    expect(of('agents:\n  - owner: [hunter2]')).toEqual([
      '2: agents.0.owner: cannot be read: Who answers: a claim, or none',
    ])
    expect(of('agents:\n  - owner: { claim: [hunter2] }')).toEqual(['2: agents.0.owner.claim: must be a text'])
    expect(problemsOf('upstreams: []')).toEqual(['1: gateway: is required'])
  })

  it('names the nearest known key also of the one that tells the branch of a union', () => {
    const of = (entry: string) => problemsOf(`gateway: {listen: a}\nupstreams:\n  - ${entry}`)
    expect(of('{ protcol: http, url: u }')).toEqual(['3: upstreams.0: unknown key protcol; did you mean protocol?'])
    expect(of('{ url: u }')).toEqual(['3: upstreams.0.protocol: is required'])
    expect(of('{ protocol: hunter2, url: u }')).toEqual(['3: upstreams.0.protocol: must be one of http, postgres'])
  })

  it('shows the name of an entry as it is written, and nothing that was put into it', () => {
    const named = z.strictObject({ list: z.array(z.strictObject({ name: z.string(), size: z.int() })) })
    const of = (text: string) => {
      const parsed = parseYaml(text, { file: 'f', schema: named, substitute: () => 'hunter2' })
      return parsed.ok ? [] : parsed.problems.map(({ message }) => message)
    }
    expect(of('list: [{ name: "a", size: x }]').join()).toMatch(/^list\.0 \(a\)\.size: /)
    expect(of('list: [{ name: "${SECRET}", size: x }]').join()).toMatch(/^list\.0\.size: /)
  })

  it.each(['{ listen: ${X} }', '{ listen: x${file:/a/b}, other: ${X} }', '\n  listen: [a, ${X}]'])(
    'says that a substitution needs quotes there: %s',
    (value) => {
      const problems = problemsOf(`gateway: ${value}\nupstreams: []\n`)
      expect(problems).toEqual([expect.stringMatching(/^[12]: put quotes around \$\{…\} inside \{ \} or \[ \]$/)])
    },
  )

  it('says what to write instead, with the nearest name of a choice, and not what is there', () => {
    const shape = z.strictObject({
      people: z.array(z.string()).min(1).max(2).optional(),
      covers: z.enum(['call', 'resource', 'rule']).optional(),
      only: z.literal('all').optional(),
      count: z.int().min(1).max(20).optional(),
      isOn: z.boolean().optional(),
      name: z.string().min(1).max(5).optional(),
      inner: z.strictObject({}).optional(),
      at: z.url().optional(),
      own: z.string().min(3, 'must be a word').optional(),
    })
    const of = (text: string) => {
      const parsed = parseYaml(text, { file: 'f', schema: shape })
      return parsed.ok ? '' : parsed.problems.map(({ message }) => message).join()
    }
    expect(of('people: hunter2')).toBe('people: must be a list: put it in [ ]')
    expect(of('people: {}')).toBe('people: must be a list')
    expect(of('people: []')).toBe('people: must not be empty')
    expect(of('people: [a, b, c]')).toBe('people: must have at most 2 entries')
    expect(of('covers: rules')).toBe('covers: must be one of call, resource, rule; did you mean rule?')
    expect(of('covers: hunter2')).toBe('covers: must be one of call, resource, rule')
    expect(of('only: none')).toBe('only: must be all')
    expect(of('count: hunter2')).toBe('count: must be a number')
    expect(of('count: 1.5')).toBe('count: must be a whole number')
    expect(of('count: 0')).toBe('count: must be at least 1')
    expect(of('count: 21')).toBe('count: must be at most 20')
    expect(of('isOn: "yes"')).toBe('isOn: must be true or false')
    expect(of('name: 5')).toBe('name: must be a text: put it in quotes')
    expect(of('name: ""')).toBe('name: must not be empty')
    expect(of('name: hunter2')).toBe('name: must have at most 5 characters')
    expect(of('inner: hunter2')).toBe('inner: must be a mapping, with keys of its own')
    expect(of('at: hunter2')).toBe('at: must be a URL like https://idp.example.com')
    expect(of('own: a')).toBe('own: must be a word')
    expect(problemsOf('gateway: {listen: a}\nupstreams: [{ protocol: postgre, url: u }]')).toEqual([
      '2: upstreams.0.protocol: must be one of http, postgres; did you mean postgres?',
    ])
  })

  it('refuses duplicate keys, aliases and broken YAML', () => {
    expect(problemsOf('gateway: {listen: a}\ngateway: {listen: b}\n')[0]).toMatch(/^2: .*unique/)
    expect(problemsOf('gateway: &g {listen: a}\nupstreams: *g\n')).toEqual(['2: aliases (*name) are not read here'])
    expect(problemsOf('gateway: {listen: a\n')).not.toEqual([])
  })

  it('never shows a value in a message', () => {
    const text = 'gateway: {listen: {secret: hunter2}}\nupstreams: hunter2\n'
    expect(problemsOf(text).length).toBeGreaterThan(0)
    expect(problemsOf(text).join()).not.toContain('hunter2')
  })

  it('leaves out a key as if it were not there, with what its value would have needed', () => {
    const substitute = (value: string) => {
      if (value === 'secret') throw new Error('no such variable')
      return value
    }
    const how = { file: 'f', schema: z.looseObject({}), substitute, leaveOut: [['store', 'admin_url']] }
    const parsed = parseYaml('store: { url: a, admin_url: secret }', how)
    expect(parsed.ok && parsed.value).toEqual({ store: { url: 'a' } })
    expect(parseYaml('other: 1', how).ok).toBe(true)
  })

  it('substitutes values, never keys, and turns what goes wrong there into a problem', () => {
    const upper = (value: string) => {
      if (value === 'bad') throw new Error('no such variable')
      return value.toUpperCase()
    }
    const parsed = parseYaml('gateway: {listen: a}', { file: 'f', schema, substitute: upper })
    expect(parsed.ok && parsed.value.gateway.listen).toBe('A')
    expect(problemsOf('gateway:\n  listen: bad', upper)).toEqual(['2: no such variable'])
  })
})
