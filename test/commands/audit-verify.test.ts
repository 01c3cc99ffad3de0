import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { entryHash, GENESIS, leafHash } from '../../src/audit/chain.ts'
import { writeExport } from '../../src/audit/export.ts'
import { parseHeadFile, signHead } from '../../src/audit/head.ts'
import type { LogRow } from '../../src/audit/rows.ts'
import { auditVerifyCommand } from '../../src/commands/audit-verify.ts'
import { dispatch } from '../../src/commands/dispatch.ts'
import type { Context } from '../../src/commands/parts.ts'
import { exportPublicKeys, type KeyPair, type SigningKey } from '../../src/platform/keys.ts'

const ESCAPE = '\u001b[2K'
const NOTHING_WRONG = { kind: 'intent', v: 1, effect: 'allow', writer: 'w' }

let folder: string
let before: string
let checkpoint: KeyPair<SigningKey>

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-auditor-'))
  // An auditor's machine: nothing of the gateway's is in this directory.
  before = process.cwd()
  process.chdir(folder)
  checkpoint = makeKey('c1')
  await writeFile('checkpoint.pem', exportPublicKeys(checkpoint)[0]?.pem ?? '')
})
afterEach(async () => {
  process.chdir(before)
  await rm(folder, { recursive: true })
})

function makeKey(kid: string): KeyPair<SigningKey> {
  const { privateKey: key, publicKey } = generateKeyPairSync('ed25519')
  return { kid, current: { kid, algorithm: 'EdDSA', key, publicKey }, previous: null }
}

/** The first `count` entries of a log; `forgedFrom` is where somebody else's begins. */
function entries(count: number, forgedFrom = Number.POSITIVE_INFINITY): readonly LogRow[] {
  let link: Buffer = GENESIS
  return Array.from({ length: count }, (_, index) => {
    const seq = index + 1
    const body = Buffer.from(JSON.stringify({ ...NOTHING_WRONG, n: seq, call_id: `${seq}`, x: seq >= forgedFrom }))
    link = entryHash(link, leafHash(body))
    return { seq, body, hash: link }
  })
}

function headAt(seq: number, rows = entries(seq), by = checkpoint): string {
  const hash = Buffer.from(rows[seq - 1]?.hash ?? GENESIS)
  return signHead({ systemIdentifier: '7', timeline: '00000001', seq, hash, atMs: 1_800_000_000_000 }, by)
}

/** An export of these rows that was made when `head` was what the gateway had signed. */
async function exportOf(rows: readonly LogRow[], head: string | null, endSeq = rows.length): Promise<void> {
  const hash = entries(endSeq)[endSeq - 1]?.hash ?? GENESIS
  async function* all() {
    yield* rows
  }
  const end = { seq: endSeq, hash: Buffer.from(rows[endSeq - 1]?.hash ?? hash) }
  await writeExport(all(), 'log.jsonl', { end, head: head === null ? null : parseHeadFile(head), withPersonal: true })
}

/** An export whose first line, what it says of itself, was changed. */
async function exportWith(what: RegExp, instead: string): Promise<void> {
  await exportOf(entries(10), null)
  await writeFile('log.jsonl', (await readFile('log.jsonl', 'utf8')).replace(what, instead))
}

async function verify(...args: string[]) {
  const out: string[] = []
  const err: string[] = []
  // What the command takes of its context when it works on a file.
  const context = {
    kinds: { protocols: [], channels: [] },
    isTerminal: false,
    out: (line: string) => void out.push(line),
    err: (line: string) => void err.push(line),
  } as unknown as Context
  const group = { kind: 'group', summary: '', commands: { verify: auditVerifyCommand } } as const
  const code = await dispatch({ name: 'audit', group }, ['verify', '--file', 'log.jsonl', ...args], context)
  return { code, out: out.join('\n'), err: err.join('\n') }
}

describe('an export at an auditor’s, who has no configuration', () => {
  it('is recomputed without any key, and says in one line what was not checked', async () => {
    await exportOf(entries(10), headAt(8))
    const { code, out, err } = await verify()
    expect([code, err]).toEqual([14, ''])
    expect(out.split('\n')).toEqual([
      'unanchored: entries 1 to 10, agreeing with each other; no signed head vouches for any of them',
      'the file says that it ends at entry 10; what was written later is not in it',
      'not checked: the signature of the head; give --key with what `audit key` prints, or --config',
    ])
  })

  it('is intact with the public key alone, if the head that it holds is of its last entry', async () => {
    await exportOf(entries(10), headAt(10))
    const { code, out } = await verify('--key', 'checkpoint.pem')
    expect([code, out.split('\n')[0]]).toEqual([
      0,
      'intact: entries 1 to 10; a signed head vouches for entries 1 to 10',
    ])
  })

  it('is not vouched for behind the head: those entries may be anybody’s', async () => {
    await exportOf(entries(10, 9), headAt(8))
    const { code, out } = await verify('--key', 'checkpoint.pem')
    expect([code, out.split('\n')]).toEqual([
      14,
      [
        'unanchored: entries 1 to 10, agreeing with each other; a signed head vouches for entries 1 to 8, and none for those after it: whoever wrote the file may have made them up',
        'the file says that it ends at entry 10; what was written later is not in it',
      ],
    ])
  })

  it('is compared with a head that was handed over apart from it', async () => {
    await exportOf(entries(10), null)
    await writeFile('head.json', headAt(9))
    const bare = await verify('--key', 'checkpoint.pem')
    expect([bare.code, bare.out]).toEqual([14, expect.stringContaining('there is no signed head, give --head')])
    const unsigned = await verify('--head', 'head.json')
    expect([unsigned.code, unsigned.out]).toEqual([14, expect.stringContaining('not checked: the signature')])
    const { code, out } = await verify('--head', 'head.json', '--key', 'checkpoint.pem')
    expect([code, out]).toEqual([14, expect.stringContaining('vouches for entries 1 to 9, and none')])
    await writeFile('head.json', headAt(10))
    expect(await verify('--head', 'head.json', '--key', 'checkpoint.pem')).toMatchObject({ code: 0 })
  })

  it('that ends before a later head is not damaged, and says what is not in it', async () => {
    await exportOf(entries(10), headAt(10))
    await writeFile('head.json', headAt(18))
    const { code, out } = await verify('--head', 'head.json', '--key', 'checkpoint.pem')
    expect(code).toBe(0)
    expect(out).toContain('vouches for entries 1 to 10\n')
    expect(out).toContain('the file ends at entry 10 of 18: later entries')
    await exportOf(entries(10), null)
    expect(await verify('--head', 'head.json', '--key', 'checkpoint.pem')).toMatchObject({
      code: 14,
      out: expect.stringMatching(/^unanchored: .*\nthe file ends at entry 10 of 18/),
    })
  })

  it('tells its findings as JSON too', async () => {
    await exportOf(entries(10), headAt(8))
    const { out } = await verify('--key', 'checkpoint.pem', '--json')
    expect(JSON.parse(out)).toMatchObject({
      verdict: 'unanchored',
      exitCode: 14,
      anchoredSeq: 8,
      findings: [{ fault: 'unanchored', seq: 9 }],
      last: { seq: 10 },
    })
  })
})

it('of a log that has no entries yet says so', async () => {
  await exportOf([], null)
  const { code, out } = await verify('--key', 'checkpoint.pem')
  expect([code, out.split('\n')[0]]).toEqual([
    14,
    'unanchored: there are no entries, and no signed head to say how many there were',
  ])
})

it('is vouched for whole by a head of its last entry', async () => {
  await exportOf(entries(1), headAt(1))
  const { out } = await verify('--key', 'checkpoint.pem')
  expect(out.split('\n')[0]).toBe('intact: entry 1; a signed head vouches for entry 1')
})

describe('a file that is not what it seems', () => {
  it.each<[string, number, () => Promise<void>]>([
    ['a part of an export', 12, () => exportOf(entries(7), headAt(5), 10)],
    ['a store that lacked what was signed', 12, () => exportOf(entries(7), headAt(8))],
    ['another history, with a head of the true one', 13, () => exportOf(entries(10, 4), headAt(8))],
    ['an entry left out', 11, () => exportOf(entries(10).toSpliced(4, 1), headAt(8), 10)],
    ['an end that is not the stated one', 10, () => exportWith(/"hash":"\w+"/, `"hash":"${'0'.repeat(64)}"`)],
    ['entries after the stated end', 10, () => exportWith(/"seq":10/, '"seq":9')],
  ])('%s is found out, with a key and without', async (_, code, write) => {
    await write()
    expect((await verify()).code).toBe(code)
    expect((await verify('--key', 'checkpoint.pem')).code).toBe(code)
  })

  it('is not vouched for by a head of somebody else’s', async () => {
    const forged = entries(10, 4)
    await exportOf(forged, headAt(8, forged, makeKey('c1')))
    expect(await verify('--key', 'checkpoint.pem')).toMatchObject({
      code: 14,
      out: expect.stringContaining('has no valid signature by the keys given: it proves nothing'),
    })
    await writeFile('head.json', headAt(8, forged, makeKey('c1')))
    expect(await verify('--key', 'checkpoint.pem', '--head', 'head.json')).toMatchObject({ code: 1, out: '' })
  })

  it('that was cut off with its own statement is told by a head that is further', async () => {
    await exportOf(entries(10), headAt(8))
    const [, ...rows] = (await readFile('log.jsonl', 'utf8')).split('\n')
    await writeFile('log.jsonl', `${rows.slice(0, 6).join('\n')}\n`)
    await writeFile('head.json', headAt(10))
    expect(await verify('--key', 'checkpoint.pem', '--head', 'head.json')).toMatchObject({ code: 12 })
    expect((await verify('--key', 'checkpoint.pem')).out).toContain('the file does not say where it ends')
  })

  it('says nothing to a terminal', async () => {
    const [first, ...rest] = entries(3)
    const personal = [{ commitment: Buffer.alloc(32), field: `party${ESCAPE}`, salt: Buffer.alloc(32), value: 'x' }]
    await exportOf([...(first ? [{ ...first, personal }] : []), ...rest], null)
    const { code, out } = await verify()
    expect([code, out]).toEqual([10, expect.stringContaining('the party⟨U+001B⟩[2K stored beside')])
  })
})

describe('what is wrong with how it is asked for', () => {
  it.each([
    [['--config', 'nowhere.yaml'], /nowhere\.yaml: no such file; --file needs none/],
    [['--key', 'nowhere.pem'], /nowhere\.pem cannot be read/],
    [['--key', 'log.jsonl'], /log\.jsonl is no Ed25519 public key in PEM/],
    [['--key', 'private.pem'], /private\.pem holds a private key: give the public half/],
    [['--key', 'p256.pem'], /p256\.pem is no Ed25519 public key in PEM/],
    [['--head', 'nowhere.json'], /nowhere\.json cannot be read/],
    [['--head', 'checkpoint.pem'], /checkpoint\.pem is no head file/],
  ])('%j is answered with one line', async (args, message) => {
    await exportOf(entries(3), headAt(3))
    await writeFile('private.pem', checkpoint.current.key.export({ format: 'pem', type: 'pkcs8' }))
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    await writeFile('p256.pem', publicKey.export({ format: 'pem', type: 'spki' }))
    const { code, out, err } = await verify(...args)
    expect([code, out]).toEqual([1, ''])
    expect(err).toMatch(message)
    expect(err).not.toMatch(/\n|init/)
  })

  it('takes several keys in one file, as there are while a key is replaced', async () => {
    await exportOf(entries(3), headAt(3))
    const next = makeKey('c2')
    const both = exportPublicKeys({ ...next, previous: checkpoint.current }).map(({ pem }) => pem)
    await writeFile('both.pem', `${both.join('\n')}\n`)
    expect(await verify('--key', 'both.pem')).toMatchObject({ code: 0 })
  })
})
