import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { capText, MAX_BYTES } from '../../src/audit/cap.ts'
import { commitmentOf, entryHash, GENESIS, leafHash } from '../../src/audit/chain.ts'
import { createCommitments } from '../../src/audit/commitments.ts'
import { writeBody } from '../../src/audit/entry-body.ts'
import type { Entry } from '../../src/domain/entry.ts'
import { newCallId } from '../../src/platform/id.ts'

const stamp = { writer: 'w', n: 1, at: 0, isRetry: false }
const sha256 = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

function counted() {
  let calls = 0
  return (bytes: number) => Buffer.alloc(bytes, ++calls)
}

function write(entry: Entry, commitments = createCommitments(counted())) {
  const { text, fresh } = writeBody(entry, stamp, commitments)
  return { text, fresh, body: JSON.parse(text) as Record<string, unknown> }
}

describe('the chain', () => {
  it('hashes leaves and links as documented', () => {
    const leaf = leafHash(Buffer.from('{}'))
    expect(leaf).toEqual(sha256(Uint8Array.of(0), '{}'))
    expect(entryHash(GENESIS, leaf)).toEqual(sha256(Uint8Array.of(1), sha256(''), leaf))
  })
})

describe('a body', () => {
  const principal = {
    issuer: 'https://idp',
    subject: 'agent',
    onBehalfOf: { issuer: 'https://idp', subject: 'alice' },
    actors: [{ issuer: 'https://idp', subject: 'planner' }],
    owner: { issuer: 'https://idp', subject: 'olga' },
    groups: [],
    client: 'bot',
    expiresAt: 0,
  }

  it('states the version, the time, the writer and its counter', () => {
    expect(write({ kind: 'gateway_started' }).text).toBe(
      '{"at":"1970-01-01T00:00:00.000Z","kind":"gateway_started","n":1,"v":1,"writer":"w"}',
    )
  })

  it('names nobody: parties, reasons, models and claims are commitments', () => {
    const { text, body, fresh } = write({
      kind: 'intent',
      principal,
      reviewer: { issuer: 'https://people', subject: 'rita' },
      reason: 'because of Bob',
      model: 'model-x',
      claimed: { prompt: 'about Bob', trace: '0af7651916cd43dd8448eb211c80319c' },
    })
    for (const name of ['agent', 'alice', 'planner', 'olga', 'rita', 'Bob', 'model-x']) expect(text).not.toContain(name)
    expect(body).toMatchObject({ issuer: 'https://idp', client: 'bot' })
    expect(body['trace']).toBe('0af7651916cd43dd8448eb211c80319c')
    expect(fresh.map(({ field, value }) => [field, value])).toEqual(
      expect.arrayContaining([
        ['party', 'https://idp|agent'],
        ['party', 'https://idp|alice'],
        ['party', 'https://idp|planner'],
        ['party', 'https://idp|olga'],
        ['party', 'https://people|rita'],
        ['reason', 'because of Bob'],
        ['model', 'model-x'],
        ['claimed.prompt', 'about Bob'],
      ]),
    )
    const [first] = fresh
    expect(first && commitmentOf(first.salt, first.value).toString('base64')).toBe(first?.text)
  })

  it('commits to a trace that is no trace id like to any other claim', () => {
    const { text } = write({ kind: 'intent', claimed: { trace: 'Alice was here' } })
    expect(text).not.toContain('Alice')
  })

  it('commits to a value once, and brings it along until it is known to be stored', () => {
    const commitments = createCommitments(counted())
    const first = write({ kind: 'vote', reviewer: principal }, commitments)
    const second = write({ kind: 'vote', reviewer: principal }, commitments)
    expect(second.body['reviewer']).toBe(first.body['reviewer'])
    expect(second.fresh).toHaveLength(1)
    for (const commitment of second.fresh) commitment.isStored = true
    expect(write({ kind: 'vote', reviewer: principal }, commitments).fresh).toHaveLength(0)
    commitments.forget()
    expect(write({ kind: 'vote', reviewer: principal }, commitments).body['reviewer']).not.toBe(first.body['reviewer'])
  })

  it('marks an entry that is written again', () => {
    const { text } = writeBody({ kind: 'outcome' }, { ...stamp, isRetry: true }, createCommitments(counted()))
    expect(JSON.parse(text)).toMatchObject({ retry: true, n: 1 })
  })

  it('stays small, whatever comes, and keeps what the verifier reads', () => {
    const long = 'ü'.repeat(100_000)
    const { text, body, fresh } = write({
      kind: 'spent',
      callId: newCallId(),
      principal: { ...principal, subject: long },
      resource: long,
      reason: long,
      upstream: long,
      claimed: Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`c${index}${long}`, long])),
      detail: { quorum: 2, decision: 'approve', note: long, list: Array.from({ length: 100 }, () => long) },
    })
    expect(Buffer.byteLength(text)).toBeLessThan(40_000)
    expect(body['detail']).toMatchObject({ quorum: 2, decision: 'approve', list: { sha256: expect.any(String) } })
    for (const { value } of fresh) expect(Buffer.byteLength(value)).toBeLessThan(4_300)
  })

  it.each<[string, Entry]>([
    ['a NUL in a column', { kind: 'intent', resource: 'a\0' }],
    ['a NUL in a personal value', { kind: 'intent', reason: 'a\0' }],
    ['a lone surrogate', { kind: 'intent', verb: '\ud800' }],
    ['a call id that is no UUID', { kind: 'intent', callId: '17' }],
  ])('is refused for %s', (_, entry) => {
    expect(() => write(entry)).toThrow(expect.objectContaining({ code: 'audit' }))
  })
})

describe('a cap', () => {
  it('keeps what fits, and cuts between characters, with the hash of the whole', () => {
    expect(capText('short', 5)).toBe('short')
    const whole = 'aé€😀'.repeat(50)
    for (let max = 8; max < 30; max++) {
      const [prefix = '', rest] = capText(whole, max).split('…')
      expect(whole.startsWith(prefix)).toBe(true)
      expect(Buffer.byteLength(prefix)).toBeLessThanOrEqual(max)
      expect(Buffer.byteLength(prefix)).toBeGreaterThan(max - 4)
      expect(rest).toBe(`[sha256:${sha256(whole).toString('hex')}]`)
    }
  })

  it('never joins two texts that differ', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        const padding = 'x'.repeat(MAX_BYTES.name)
        fc.pre(a !== b)
        expect(capText(padding + a, MAX_BYTES.name)).not.toBe(capText(padding + b, MAX_BYTES.name))
      }),
    )
  })

  it('refuses a lone surrogate even behind the cut', () => {
    expect(() => capText(`${'x'.repeat(100)}\ud800`, 10)).toThrow(expect.objectContaining({ code: 'audit' }))
  })
})
