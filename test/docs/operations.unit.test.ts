import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createMetrics } from '../../src/platform/metrics.ts'
import { blocks, quoted, ROOT, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/operations.md')

/** What the program says, as its source has it: the values put into messages are `…`. */
const said = readdirSync(new URL('src/', ROOT), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => readPage(`src/${name}`))
  .join('\n')
  // A message that is broken over two lines is one.
  .replaceAll(/'\s*\+\s*'/g, '')
  .replaceAll("\\'", "'")
  .replaceAll('${error.code}', 'EADDRINUSE')

describe('the metrics', () => {
  it('are those of the program, with their labels', async () => {
    const metrics = await createMetrics().registry.getMetricsAsJSON()
    const own = metrics.filter(({ name }) => name.startsWith('countersign_')).map(({ name }) => name)
    const listed = tableUnder(page, 'Metrics').map(([name = '']) => quoted(name)[0])
    expect(listed).toEqual(own)
    const source = readPage('src/platform/metrics.ts')
    for (const [name = '', labels = ''] of tableUnder(page, 'Metrics')) {
      const [, declared = ''] = new RegExp(`'${quoted(name)[0]}',[^}]*?labelNames: \\[(.*?)\\]`, 's').exec(source) ?? []
      const names = declared.includes('name:') ? [] : [...declared.matchAll(/'(\w+)'/g)].map(([, label]) => label)
      expect(quoted(labels)).toEqual(names)
    }
  })
})

describe('the checks of readiness', () => {
  it('are those of the program', () => {
    const source = ['src/commands/doors.ts', 'src/commands/gateway.ts'].map(readPage).join('')
    const checks = [...source.matchAll(/\{ name: '(\w+)', isOk/g)].map(([, name]) => name)
    expect(tableUnder(page, 'Health and readiness').map(([name = '']) => quoted(name)[0])).toEqual(checks)
  })
})

describe('what is quoted of the program', () => {
  it.each(['It does not start', 'It starts, and refuses calls'])('is what it says: %s', (heading) => {
    const quotations = tableUnder(page, heading).flatMap(([cell = '']) =>
      // Codes are quoted too; they are another page's.
      quoted(cell).filter((text) => text.includes(' ')),
    )
    const parts = quotations.flatMap((text) => text.split('…').map((part) => part.replaceAll(/^[?; ]+|[?; ]+$/g, '')))
    expect(parts.filter((part) => !said.includes(part))).toEqual([])
  })
})

it('has numbers that the program has', () => {
  const defaults = readPage('docs/configuration.md')
  for (const [, limit = '', keys = ''] of tableUnder(page, 'Sizing and limits')) {
    for (const key of quoted(keys)) {
      const row = defaults.split('\n').find((line) => line.startsWith(`| \`${key}\` |`)) ?? ''
      const [, , , value = ''] = row.split('|')
      const number = /[0-9]+/.exec(value)?.[0] ?? expect.fail(key)
      expect(limit).toContain(number)
    }
  }
  expect(blocks(page, 'sql')).toHaveLength(2)
})
