import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { parse } from 'yaml'
import { describeConfiguration, type Node, readSchema } from '../../scripts/config-reference.ts'
import { slack } from '../../src/channels/slack/index.ts'
import { loadConfig } from '../../src/config.ts'
import { generateKeys, type KeysConfig, readKeys } from '../../src/platform/load-keys.ts'
import { http } from '../../src/protocols/http/index.ts'
import { postgres } from '../../src/protocols/postgres/index.ts'
import { blocks, pages, readPage } from './pages.ts'

const parts = { protocols: [http, postgres], channels: [slack] }
const page = readPage('docs/configuration.md')
const example = readPage('docs/countersign.example.yaml')
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-docs-'))
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

/** Loads a configuration with secrets of the kind that it asks for. */
function load(yaml: string) {
  const keys = generateKeys()
  const older = generateKeys()
  for (const [path = '', name = ''] of yaml.matchAll(/\/run\/secrets\/([\w.-]+)/g)) {
    const purpose = name.split('-')[0] as keyof KeysConfig // the names of the key files begin with it
    const ofKey = name.endsWith('-05.key') && purpose === 'payload' ? older : keys
    const kind = name.endsWith('.key') ? 'PRIVATE KEY' : 'CERTIFICATE'
    writeFileSync(join(folder, name), ofKey[purpose]?.current ?? `-----BEGIN ${kind}-----\n${path}\n`)
  }
  vi.stubEnv('SLACK_BOT_TOKEN', 'xoxb-1-2-three')
  vi.stubEnv('SLACK_APP_TOKEN', 'xapp-1-A0-2-three')
  for (const name of [
    'DATABASE_URL',
    'BILLING_TOKEN',
    'SHOP_PASSWORD',
    'MAIL_KEY',
    'ORDERS_PASSWORD',
    'CONSOLE_SECRET',
  ])
    vi.stubEnv(name, 'a-value')
  const file = join(folder, 'countersign.yaml')
  writeFileSync(file, yaml.replaceAll('/run/secrets/', `${folder}/`), { mode: 0o600 })
  return loadConfig(file, parts)
}

describe('the reference', () => {
  it('is what the script makes of the schema', () => {
    expect(`${describeConfiguration(page)}\n`).toBe(page)
  })

  it('says something of every key', () => {
    const mute = [...keysOf(readSchema())].filter(([, node]) => !node.description).map(([path]) => path)
    expect(mute).toEqual([])
  })
})

describe('the examples', () => {
  it('are a first configuration that loads', () => {
    const [first = ''] = blocks(page, 'yaml')
    expect(load(first)).toMatchObject({ upstreams: [{ name: 'billing' }] })
  })

  it('are a complete configuration that loads, with keys that are keys', () => {
    const { keys } = load(example)
    expect(readKeys(keys ?? expect.fail('it has keys')).payload.previous?.kid).toBe('payload-2026-05')
  })

  it('mention every key somewhere', () => {
    const shown = new Set<string>()
    const texts = [example, ...pages().flatMap((name) => blocks(readPage(name), 'yaml'))]
    for (const text of texts) for (const path of pathsOf(parseLeniently(text), '')) shown.add(ofAnyPurpose(path))
    const known = [...keysOf(readSchema())].map(([path]) => ofAnyPurpose(path))
    const missing = known.filter((path) => !shown.has(path))
    expect(missing).toEqual([])
  })

  it('make keys by one-liners', () => {
    const lines = blocks(page, 'sh').flatMap((block) => block.split('\n').filter((line) => line.startsWith('node -e')))
    for (const line of lines) {
      const env = { PATH: `${dirname(process.execPath)}:/usr/bin:/bin` }
      expect(spawnSync('sh', ['-c', line], { cwd: folder, env })).toMatchObject({ status: 0 })
    }
    const read = (name: string) => readFileSync(join(folder, name), 'utf8')
    const keys = readKeys({
      ...generateKeys(),
      payload: { kid: 'one', current: read('payload-2026-11.key') },
      assertion: { kid: 'two', current: read('assertion-2026-11.pem') },
    })
    expect([keys.payload.kid, keys.assertion.current.algorithm]).toEqual(['one', 'EdDSA'])
    expect(lines).toHaveLength(2)
  })
})

/** What one purpose's key shows of its own keys is the same for the others. */
function ofAnyPurpose(path: string): string {
  return path.replace(/^keys\.\w+\./, 'keys.*.')
}

/** Every key that the schema knows, by its path; entries of lists and maps have none. */
function* keysOf(node: Node, path = ''): Generator<readonly [string, Node]> {
  for (const [key, child] of Object.entries(node.properties ?? {})) {
    const own = path === '' ? key : `${path}.${key}`
    yield [own, child]
    yield* keysOf(child, own)
  }
  if (node.items) yield* keysOf(node.items, path)
  for (const each of node.anyOf ?? node.oneOf ?? []) yield* keysOf(each, path)
}

/** Other pages have blocks of other kinds, some of them wrong on purpose. */
function parseLeniently(text: string): unknown {
  try {
    return parse(text)
  } catch {
    return null
  }
}

function* pathsOf(value: unknown, path: string): Generator<string> {
  if (Array.isArray(value)) {
    for (const each of value) yield* pathsOf(each, path)
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, child] of Object.entries(value)) {
      const own = path === '' ? key : `${path}.${key}`
      yield own
      yield* pathsOf(child, own)
    }
  }
}
