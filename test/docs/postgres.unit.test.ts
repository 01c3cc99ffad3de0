import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readStartup } from '../../src/protocols/postgres/entrance/startup.ts'
import { explainExcess } from '../../src/protocols/postgres/impact/bounded.ts'
import { statementFacts } from '../../src/protocols/postgres/naming/facts.ts'
import { MAX_BYTES } from '../../src/protocols/postgres/naming/namer.ts'
import { VERBS } from '../../src/protocols/postgres/naming/tags.ts'
import { postgresOptions } from '../../src/protocols/postgres/options.ts'
import { blocks, quoted, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/postgres.md')

/** The text of one paragraph. */
function paragraph(begin: string): string {
  const from = page.indexOf(begin)
  expect(from, begin).toBeGreaterThan(-1)
  return page.slice(from, page.indexOf('\n\n', from))
}

describe('the page about Postgres', () => {
  it('lists every fact', () => {
    expect(quoted(paragraph('The facts that rules')).slice(0, Object.keys(statementFacts).length).toSorted()).toEqual(
      Object.keys(statementFacts).toSorted(),
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

  it('has an upstream that is one', () => {
    const yaml = blocks(page, 'yaml').find((text) => text.startsWith('upstreams:')) ?? ''
    const read = yaml.replace(/\$\{file:.*?\.(crt|key)\}/g, (_, kind) =>
      kind === 'key' ? '-----BEGIN PRIVATE KEY-----' : '-----BEGIN CERTIFICATE-----',
    )
    expect(postgresOptions.parse(parse(read).upstreams[0])).toMatchObject({ url: { database: 'shop' } })
  })
})
