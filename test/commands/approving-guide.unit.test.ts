import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { approvals } from '../../src/commands/approvals.ts'
import type { Command, Group } from '../../src/commands/cli.ts'
import { parseArguments } from '../../src/commands/cli-parse.ts'
import { login } from '../../src/commands/login.ts'
import { logout } from '../../src/commands/logout.ts'
import type { PersonContext } from '../../src/commands/person-context.ts'
import { ACCESS } from '../../src/control/access.ts'
import { ENDPOINTS, type Endpoint } from '../../src/control/endpoints.ts'
import { CONTROL_CODES } from '../../src/control/problem.ts'
import { peopleOptions } from '../../src/identity/options.ts'

const guide = readFileSync(new URL('../../docs/approving.md', import.meta.url), 'utf8')
const blocksOf = (language: string) =>
  [...guide.matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 'gs'))].map(([, text = '']) => text)
const lines = blocksOf('sh').flatMap((block) => block.trim().split('\n'))

/** The words of a shell line, with quotes and `$TOKEN` as a shell would have them. */
function wordsOf(line: string): readonly string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, bare]) => double ?? single ?? bare ?? '',
  )
}

describe('the guide to approving', () => {
  const root: Group<PersonContext> = { kind: 'group', summary: '', commands: { login, logout, approvals } }

  it.each(lines.filter((line) => line.startsWith('countersign ')))(
    'gives a command line that is understood: %s',
    (line) => {
      let at: Command<PersonContext> | Group<PersonContext> | undefined = root
      let words = wordsOf(line).slice(1)
      while (at?.kind === 'group') {
        const [word = '', ...rest] = words
        at = at.commands[word]
        words = rest
      }
      expect(at && parseArguments(at, words)).toMatchObject({ options: {} })
    },
  )

  it.each(lines.filter((line) => line.startsWith('curl ')))('gives a request that the API takes: %s', (line) => {
    const words = wordsOf(line)
    const url = new URL(words.find((word) => word.startsWith('https://')) ?? '')
    const method = words.includes('-X') ? words[words.indexOf('-X') + 1] : 'GET'
    const name = `${method} ${url.pathname.replace('7Q3F000000', ':id')}`
    const endpoint = (ENDPOINTS as Record<string, Endpoint>)[name]
    expect(endpoint).toBeDefined()
    expect(words).toContain('Authorization: Bearer $TOKEN')
    endpoint?.query?.parse(Object.fromEntries(url.searchParams))
    if (endpoint?.body) endpoint.body.parse(JSON.parse(words[words.indexOf('-d') + 1] ?? ''))
  })

  it('lists every endpoint with its roles', () => {
    const rows = [...guide.matchAll(/^\| `((?:GET|POST) [^`]+)` +\| ([^|]+?) +\| (\w+) +\|$/gm)]
    const written = rows.map(([, name, roles, use]) => [name, roles, use])
    const access: readonly (readonly [string, { roles: readonly string[] | null; use: string }])[] =
      Object.entries(ACCESS)
    expect(written).toEqual(
      access.map(([name, { roles, use }]) => [name, roles?.join(', ') ?? 'anyone', roles ? use : 'none']),
    )
  })

  it('lists every code with its status', () => {
    const rows = [...guide.matchAll(/^\| `(\w+)` +\| (\d+) +\|/gm)].map(([, code, status]) => [code, Number(status)])
    expect(rows).toEqual(Object.entries(CONTROL_CODES).map(([code, [status]]) => [code, status]))
  })

  it('gives a configuration that is accepted', () => {
    const [yaml = ''] = blocksOf('yaml')
    expect(peopleOptions.parse(parse(yaml).people)).toMatchObject([{ read_client_id: 'countersign-reader' }])
  })
})
