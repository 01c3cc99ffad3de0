import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeys } from '../../src/platform/load-keys.ts'
import { createEmptyDatabase } from '../postgres.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
let directory: string

/** The real command line: type stripping accepts less than a test runner does. */
async function countersign(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  return countersignIn(directory, ...args)
}

async function countersignIn(cwd: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  try {
    // However the tests were started.
    const env = { ...process.env, npm_lifecycle_event: '' }
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [MAIN, ...args], { cwd, env })
    return { code: 0, out: stdout, err: stderr }
  } catch (error) {
    // execFile rejects with what the process said and its exit code.
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, out: stdout, err: stderr }
  }
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'countersign-commands-'))
  expect(await countersign('init')).toMatchObject({ code: 0 })
})

afterAll(() => rm(directory, { recursive: true }))

it('comes to its end where nobody reads it to the end', async () => {
  const child = spawn(process.execPath, [MAIN, 'config', 'schema'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  const said: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  const [code] = await once(child, 'close')
  expect([code, Buffer.concat(said).toString()]).toEqual([0, ''])
})

describe('a first configuration', () => {
  it('is in order as init writes it, with policies that pass their cases', async () => {
    const checked = await countersign('config', 'check')
    expect(checked).toMatchObject({ code: 0, out: expect.stringContaining('in order') })
    expect(checked.out).not.toContain('warning')
    expect(await countersign('policy', 'check')).toMatchObject({ code: 0 })
    const tested = await countersign('policy', 'test', '--json')
    expect(tested.code).toBe(0)
    expect(JSON.parse(tested.out)).toMatchObject({ ok: true, untested: [] })
  })

  it('is never overwritten', async () => {
    const before = await readFile(join(directory, 'countersign.yaml'), 'utf8')
    expect(await countersign('init')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^countersign init: countersign\.yaml is there already.*\n$/),
    })
    expect(await readFile(join(directory, 'countersign.yaml'), 'utf8')).toBe(before)
  })

  it('is written into the directory that is named, and lets people keep a sign-in for reading', async () => {
    const written = await countersign('init', join('gateways', 'first'))
    expect(written).toMatchObject({ code: 0, out: expect.stringContaining('wrote gateways/first/countersign.yaml') })
    const config = join('gateways', 'first', 'countersign.yaml')
    expect(await readFile(join(directory, config), 'utf8')).toContain('read_client_id: ')
    const next = written.out.split('\n').filter((line) => line.startsWith('  '))
    expect(next.map((line) => line.trim())).toEqual(
      ['config check', 'policy test', 'serve'].map((words) => `countersign ${words} --config ${config}`),
    )
    expect(await countersign('policy', 'test', '--config', config)).toMatchObject({ code: 0 })
    expect(await countersign('init', join('gateways', 'first'))).toMatchObject({ code: 1 })
  })

  it('is warned of where nobody may resume an agent that was stopped', async () => {
    const text = await readFile(join(directory, 'countersign.yaml'), 'utf8')
    await writeFile(join(directory, 'one-way.yaml'), text.replace(/^ *roles: .*\n/m, ''))
    const answer = await countersign('config', 'check', '--config', 'one-way.yaml')
    expect(answer).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^warning: nobody may resume .*people\[\]\.roles/m),
    })
    const { out } = await countersign('config', 'check', '--json', '--config', 'one-way.yaml')
    expect(JSON.parse(out)).toMatchObject({ ok: true, warnings: [expect.stringContaining('nobody may resume')] })
  })

  it('has a schema for editors, which names its keys', async () => {
    const { code, out } = await countersign('config', 'schema')
    expect(code).toBe(0)
    expect(Object.keys(JSON.parse(out).properties)).toEqual(
      expect.arrayContaining(['gateway', 'store', 'upstreams', 'hold']),
    )
  })

  it('explains which rule decides a described call', async () => {
    await writeFile(
      join(directory, 'call.yaml'),
      'principal: { is: "https://idp.example.com|agent-1" }\nupstream: billing\nverb: DELETE\nresource: /customers/1\n',
    )
    const { code, out } = await countersign('policy', 'explain', 'call.yaml')
    expect(code).toBe(0)
    expect(out).toMatch(/deny/)
    expect(out).toMatch(/first\/never-delete/)
    const { out: help } = await countersign('policy', 'explain', '--help')
    const [, example = ''] = /for example\n\n(.*?)\n\n/s.exec(help) ?? []
    await writeFile(join(directory, 'example.yaml'), example)
    expect(await countersign('policy', 'explain', 'example.yaml')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^hold: by rule first\/changes-wait\n/),
    })
  })
})

describe('bad input', () => {
  it.each([
    [['serv'], 2, /unknown command serv; did you mean serve\?/],
    [['serve', '--confg', 'x'], 2, /unknown option --confg; did you mean --config\?/],
    [['serve', '--config', 'nowhere.yaml'], 1, /nowhere\.yaml: no such file/],
    [['policy', 'explain', 'nowhere.yaml'], 1, /nowhere\.yaml cannot be read/],
    [['migrate'], 1, /there is no store\.url/],
    [['store', 'recover'], 2, /--reason is missing/],
    [['audit', 'verify', '--file', 'nowhere.jsonl'], 1, /nowhere\.jsonl/],
  ])('%j is answered with one line', async (args, code, message) => {
    const answer = await countersign(...args)
    expect(answer).toMatchObject({ code, out: '', err: expect.stringMatching(message) })
    expect(answer.err.trim().split('\n')).toHaveLength(1)
  })

  it('names file, line and nearest key of a mistake in the configuration, and no value', async () => {
    const text = await readFile(join(directory, 'countersign.yaml'), 'utf8')
    await writeFile(join(directory, 'typo.yaml'), text.replace('upstreams:', 'upstrems:'))
    const { code, err } = await countersign('config', 'check', '--config', 'typo.yaml')
    expect(code).toBe(1)
    expect(err).toMatch(/typo\.yaml:\d+: unknown key upstrems; did you mean upstreams\?/)
    expect(err).not.toContain('billing.example.com')
  })
})

describe('keys in the configuration', () => {
  it('are checked by config check, which names key and fault, and never the key', async () => {
    const text = await readFile(join(directory, 'countersign.yaml'), 'utf8')
    const good = generateKeys()
    const bad = {
      payload: { kid: 'a', current: 'c2hvcnQtbXVjaC10b28tc2hvcnQ' },
      mac: { ...good.mac, previous: { kid: good.mac.kid, key: good.cookie.current } },
      cookie: { kid: 'a', current: 'not!base64' },
      assertion: { kid: 'a', current: good.payload.current },
    }
    const check = async (keys: object) => {
      const lines = Object.entries(keys).map(([name, pair]) => `  ${name}: ${JSON.stringify(pair)}\n`)
      await writeFile(join(directory, 'keys.yaml'), `${text}keys:\n${lines.join('')}`)
      return countersign('config', 'check', '--config', 'keys.yaml')
    }
    expect(await check(good)).toMatchObject({ code: 0 })
    const { code, out, err } = await check({ ...good, ...bad })
    expect([code, out]).toEqual([1, ''])
    const faults = [
      'keys.payload.current is not 32 bytes in hex or base64url',
      'keys.mac: the previous key has the kid of the current one',
      'keys.cookie.current is not 32 bytes in hex or base64url',
      'keys.assertion.current is no private key in PEM or as a JWK',
    ]
    for (const fault of faults)
      expect(err).toMatch(new RegExp(`^(?:countersign config check: )?keys\\.yaml:\\d+: ${fault}$`, 'm'))
    for (const { current } of Object.values({ ...good, ...bad })) expect(err).not.toContain(current)
    expect((await check({ ...good, mac: good.cookie })).err).toContain('are the same key')
  })
})

describe('a store of its own', () => {
  it('is migrated once, and its empty log verifies, and exports', async () => {
    const store = await createEmptyDatabase()
    try {
      const text = await readFile(join(directory, 'countersign.yaml'), 'utf8')
      const external = { store: { url: store.url, admin_url: store.adminUrl }, keys: generateKeys() }
      // JSON is YAML.
      const lines = Object.entries(external).map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
      await writeFile(join(directory, 'external.yaml'), text + lines.join(''))
      const using = ['--config', 'external.yaml'] as const
      expect(await countersign('serve', ...using)).toMatchObject({
        code: 1,
        err: expect.stringMatching(/countersign migrate/),
      })
      const migrated = await countersign('migrate', '--json', ...using)
      expect(JSON.parse(migrated.out).applied).toContain('0001_audit.sql')
      expect(await countersign('migrate', ...using)).toMatchObject({
        code: 0,
        out: expect.stringContaining('newest already'),
      })
      expect(await countersign('policy', 'publish', ...using)).toMatchObject({
        code: 0,
        out: expect.stringContaining('version 1'),
      })
      expect(await countersign('audit', 'verify', ...using)).toMatchObject({
        code: 0,
        out: expect.stringContaining('intact'),
      })
      const path = join(directory, 'log.jsonl')
      expect(await countersign('audit', 'export', 'log.jsonl', ...using)).toMatchObject({
        code: 0,
        out: expect.stringContaining(` to ${path}\n`),
      })
      const before = await readFile(path, 'utf8')
      expect(await countersign('audit', 'export', 'log.jsonl', ...using)).toMatchObject({
        code: 1,
        err: expect.stringContaining(`${path} is there already; nothing is overwritten`),
      })
      expect(await readFile(path, 'utf8')).toBe(before)
      expect(await countersign('audit', 'verify', '--file', 'log.jsonl', ...using)).toMatchObject({ code: 0 })
      const key = await countersign('audit', 'key', ...using)
      await verifyElsewhere(key)
      await writeFile(join(directory, 'checkpoint.pem'), key.out)
      await copyFile(join(directory, '.countersign', 'head.json'), join(directory, 'head-copy.json'))
      const copies = ['--head', 'head-copy.json', '--key', 'checkpoint.pem'] as const
      expect(await countersign('audit', 'verify', ...copies, ...using)).toMatchObject({ code: 0 })
    } finally {
      await store.close()
    }
    // Twelve processes one after the other, each of which loads everything.
  }, 120_000)
})

/** What an auditor does, on a machine that has nothing but the export and the public key. */
async function verifyElsewhere(key: { code: number; out: string }): Promise<void> {
  expect(key).toMatchObject({ code: 0, out: expect.stringMatching(/^-----BEGIN PUBLIC KEY-----\n/) })
  const elsewhere = await mkdtemp(join(tmpdir(), 'countersign-auditor-'))
  try {
    await copyFile(join(directory, 'log.jsonl'), join(elsewhere, 'log.jsonl'))
    await writeFile(join(elsewhere, 'checkpoint.pem'), key.out)
    const verified = await countersignIn(elsewhere, 'audit', 'verify', '--file', 'log.jsonl', '--key', 'checkpoint.pem')
    expect(verified).toMatchObject({ code: 0, err: '', out: expect.stringContaining('a signed head vouches for') })
    const bare = await countersignIn(elsewhere, 'audit', 'verify', '--file', 'log.jsonl')
    expect(bare).toMatchObject({ code: 14, err: '', out: expect.stringContaining('not checked: the signature') })
  } finally {
    await rm(elsewhere, { recursive: true })
  }
}
