import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { compileContext } from '../../src/commands/policy-context.ts'
import { loadConfig } from '../../src/config.ts'
import { PEOPLE } from '../../src/demo/company.ts'
import { formatSelector } from '../../src/domain/selector.ts'
import { runDescribed } from '../../src/policy/cases.ts'
import { compile } from '../../src/policy/compile.ts'
import { formatExplanation } from '../../src/policy/explain.ts'
import { loadPolicies } from '../../src/policy/load.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { http } from '../../src/protocols/http/index.ts'
import { readStartup } from '../../src/protocols/postgres/entrance/startup.ts'
import { explainExcess } from '../../src/protocols/postgres/impact/bounded.ts'
import { postgres } from '../../src/protocols/postgres/index.ts'
import { statementFacts } from '../../src/protocols/postgres/naming/facts.ts'
import { MAX_BYTES } from '../../src/protocols/postgres/naming/namer.ts'
import { VERBS } from '../../src/protocols/postgres/naming/tags.ts'
import { postgresOptions } from '../../src/protocols/postgres/options.ts'
import { blocks, quoted, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/postgres.md')

const parts = { protocols: [http, postgres], channels: [] }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-docs-'))
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

/** The configuration and the policy that the page begins with, loaded. */
async function begin() {
  const config = blocks(page, 'yaml').find((text) => text.startsWith('gateway:')) ?? expect.fail('it is there')
  writeFileSync(join(folder, 'countersign.yaml'), config, { mode: 0o600 })
  vi.stubEnv('ORDERS_PASSWORD', 'a-password')
  const loaded = loadConfig(join(folder, 'countersign.yaml'), parts, { withKeys: true })
  const [, from = '', to = ''] = /^sed 's\/(\S+?)\/(\S+?)\/' policies\/orders\.yaml > /m.exec(page) ?? []
  mkdirSync(join(folder, 'policies'), { recursive: true })
  writeFileSync(join(folder, 'policies/orders.yaml'), readPage('policies/orders.yaml').replaceAll(from, to))
  const source = await loadPolicies(join(folder, 'policies'))
  if (isProblems(source)) throw new Error(JSON.stringify(source))
  const context = compileContext(loaded, parts)
  const set = compile(source, context)
  if (isProblems(set)) throw new Error(JSON.stringify(set))
  return { loaded, set, context }
}

/** The text of one paragraph. */
function paragraph(begin: string): string {
  const from = page.indexOf(begin)
  expect(from, begin).toBeGreaterThan(-1)
  return page.slice(from, page.indexOf('\n\n', from))
}

describe('the page about Postgres', () => {
  it('lists every fact, with its type and what it says', () => {
    expect(tableUnder(page, 'Facts')).toEqual(
      Object.entries(statementFacts).map(([name, { type, doc }]) => [`\`${name}\``, `\`${type}\``, doc]),
    )
  })

  it('speaks of verbs that there are', () => {
    const said = quoted(paragraph('and rules have to allow both'))
    expect(said.length).toBeGreaterThan(10)
    expect(said.filter((verb) => !VERBS.includes(verb.replace(/\s+/g, ' ')))).toEqual([])
  })

  it('lists the parameters that pass, and no other', () => {
    const text = paragraph('The gateway speaks versions')
    const passed = ['application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'extra_float_digits']
    for (const name of passed) {
      expect(text).toContain(`\`${name}\``)
      expect(
        readStartup(
          new Map([
            ['user', 'me'],
            [name, name === 'client_encoding' ? 'UTF8' : '1'],
          ]),
        ),
      ).toMatchObject({
        user: 'me',
      })
    }
    expect(
      readStartup(
        new Map([
          ['user', 'me'],
          ['search_path', 'public'],
        ]),
      ),
    ).toMatchObject({ code: '0A000' })
  })

  it('has every state that a refusal is told by', () => {
    const listed = tableUnder(page, 'What errors mean').flatMap(([cell = '']) => quoted(cell))
    const source = readPage('src/protocols/postgres/wire/report.ts')
    const [, table = ''] = /^const STATES[^{]*\{(.*?)^\}/ms.exec(source) ?? []
    const states = [...table.matchAll(/'([0-9A-Z]{5})'/g)].map(([, state = '']) => state)
    expect(states.length).toBeGreaterThan(15)
    expect(states.filter((state) => !listed.includes(state))).toEqual([])
  })

  it('shows the error of a statement that was rolled back as it is', () => {
    const shown = blocks(page, 'text').find((text) => text.startsWith('ERROR')) ?? ''
    const excess = { bound: { foreseen: 12, most: 12 }, rows: 15 }
    const { message, detail, hint } = explainExcess(excess)
    expect(shown.trim().split('\n')).toEqual([`ERROR:  ${message}`, `DETAIL:  ${detail}`, `HINT:  ${hint}`])
  })

  it('says how long a statement may be', () => {
    expect(page).toContain(`more than ${MAX_BYTES / 1024} KiB`)
  })

  it('begins with what a gateway starts with, and people of the demo who may decide', async () => {
    const { loaded, set } = await begin()
    expect(loaded.upstreams).toMatchObject([{ name: 'orders', url: { database: 'shop' }, preview_role: 'previews' }])
    const asked = set.rules.flatMap(({ requirement }) => requirement?.reviewers ?? [])
    expect(asked.map((selector) => formatSelector(selector))).toEqual(asked.map(() => `group:${PEOPLE.finn.groups[0]}`))
    expect(asked).toHaveLength(2)
  })

  it('has a statement that is explained as it says', async () => {
    const { set, context } = await begin()
    const [, text = '', said = ''] =
      /^countersign policy explain - <<'END'\n(.*?)^END\n```\n\nsays `(.*?)`/ms.exec(page) ?? []
    const explanation = runDescribed({ file: '-', text, set, context })
    if (isProblems(explanation)) throw new Error(JSON.stringify(explanation))
    const lines = formatExplanation(explanation)
    expect(lines[0]).toBe(said)
    expect(lines).toContain('  orders/changes: matches, and would say hold')
  })

  it('has an upstream that is one', () => {
    const yaml = blocks(page, 'yaml').find((text) => text.startsWith('upstreams:')) ?? ''
    const read = yaml.replace(/\$\{file:.*?\.(crt|key)\}/g, (_, kind) =>
      kind === 'key' ? '-----BEGIN PRIVATE KEY-----' : '-----BEGIN CERTIFICATE-----',
    )
    expect(postgresOptions.parse(parse(read).upstreams[0])).toMatchObject({ url: { database: 'shop' } })
  })
})
