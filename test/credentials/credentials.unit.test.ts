import { generateKeyPairSync, verify } from 'node:crypto'
import { decodeProtectedHeader, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { createAssertionSigner } from '../../src/credentials/assertion.ts'
import { createInjector } from '../../src/credentials/inject.ts'
import type { Principal } from '../../src/domain/principal.ts'

const PRINCIPAL: Principal = {
  issuer: 'https://idp.test',
  subject: 'agent-7',
  onBehalfOf: null,
  actors: [],
  owner: { issuer: 'https://idp.test', subject: 'alice' },
  groups: [{ issuerName: 'idp', name: 'support' }],
  client: null,
  expiresAt: 0,
}
const ASSERTED = {
  upstream: 'billing',
  principal: PRINCIPAL,
  callId: 'call-1',
  approvalId: 'appr-1',
  method: 'POST',
  path: '/v1/refunds?a=b',
  bodyHash: 'ab'.repeat(32),
}
const NOW = Date.UTC(2026, 0, 1)

describe('an assertion', () => {
  it.each([
    ['EdDSA', generateKeyPairSync('ed25519')],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ])('by %s says who, for what, and not for long', async (alg, pair) => {
    const key = { kid: 'k1', key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
    const sign = createAssertionSigner({ issuer: 'https://gateway.test', key: () => key, now: () => NOW })
    const token = sign(ASSERTED)
    expect(decodeProtectedHeader(token)).toEqual({ alg, typ: 'countersign-assertion+jwt', kid: 'k1' })
    const { payload } = await jwtVerify(token, pair.publicKey, {
      issuer: 'https://gateway.test',
      audience: 'billing',
      currentDate: new Date(NOW),
    })
    expect(payload).toEqual({
      iss: 'https://gateway.test',
      aud: 'billing',
      iat: NOW / 1000,
      exp: NOW / 1000 + 60,
      jti: expect.any(String),
      sub: 'https://idp.test|agent-7',
      owner: 'https://idp.test|alice',
      groups: ['idp/support'],
      call: 'call-1',
      approval: 'appr-1',
      method: 'POST',
      path: '/v1/refunds?a=b',
      body_sha256: 'ab'.repeat(32),
    })
    const late = { currentDate: new Date(NOW + 61_000) }
    await expect(jwtVerify(token, pair.publicKey, late)).rejects.toThrow(/exp/)
    expect(sign(ASSERTED)).not.toBe(token)
  })

  it('by ES256 is valid whatever the length of its two numbers', () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const key = { kid: 'k1', key: pair.privateKey }
    const sign = createAssertionSigner({ issuer: 'https://gateway.test', key: () => key, now: () => NOW })
    const signatures = Array.from({ length: 1500 }, () => {
      const [header = '', claims = '', signature = ''] = sign(ASSERTED).split('.')
      const bytes = Buffer.from(signature, 'base64url')
      const publicKey = { key: pair.publicKey, dsaEncoding: 'ieee-p1363' as const }
      expect(verify('sha256', Buffer.from(`${header}.${claims}`), publicKey, bytes)).toBe(true)
      return bytes
    })
    // One number in 256 has a byte less: without such a one, nothing was tried.
    expect(signatures.some((bytes) => bytes[0] === 0 || bytes[32] === 0)).toBe(true)
  })

  it('names the person an agent acts for, and the agents between, newest first', () => {
    const pair = generateKeyPairSync('ed25519')
    const key = { kid: 'k1', key: pair.privateKey }
    const sign = createAssertionSigner({ issuer: 'https://gateway.test', key: () => key, now: () => NOW })
    const principal: Principal = {
      ...PRINCIPAL,
      onBehalfOf: { issuer: 'https://idp.test', subject: 'bob' },
      actors: [{ issuer: 'https://other.test', subject: 'agent-1' }],
    }
    const [, claims = ''] = sign({ ...ASSERTED, principal, approvalId: null, bodyHash: null }).split('.')
    const payload = JSON.parse(Buffer.from(claims, 'base64url').toString())
    expect(payload.sub).toBe('https://idp.test|bob')
    expect(payload.act).toEqual({
      iss: 'https://idp.test',
      sub: 'agent-7',
      act: { iss: 'https://other.test', sub: 'agent-1' },
    })
    expect(payload).not.toHaveProperty('approval')
    expect(payload).not.toHaveProperty('body_sha256')
  })

  it('changes to a rotated key, and takes no other kind', () => {
    let key = { kid: 'k1', key: generateKeyPairSync('ed25519').privateKey }
    const sign = createAssertionSigner({ issuer: 'https://gateway.test', key: () => key, now: () => NOW })
    expect(decodeProtectedHeader(sign(ASSERTED)).kid).toBe('k1')
    key = { kid: 'k2', key: generateKeyPairSync('ed25519').privateKey }
    expect(decodeProtectedHeader(sign(ASSERTED)).kid).toBe('k2')
    key = { kid: 'k3', key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey }
    expect(() => sign(ASSERTED)).toThrow(/Ed25519/)
  })
})

describe('an injector', () => {
  const upstreams = [
    { name: 'a', credential: { bearer: 'secret-1' } },
    { name: 'b', credential: { basic: { user: 'u', password: 'pässword' } } },
    { name: 'c', credential: { header: { name: 'X-Api-Token', value: 'secret-3' } } },
    { name: 'd' },
  ]

  it('adds what each upstream wants', () => {
    const injector = createInjector(upstreams)
    expect(injector.headersFor('a')).toEqual(['authorization', 'Bearer secret-1'])
    expect(injector.headersFor('b')).toEqual(['authorization', `Basic ${Buffer.from('u:pässword').toString('base64')}`])
    expect(injector.headersFor('c')).toEqual(['x-api-token', 'secret-3'])
    expect(injector.headersFor('d')).toEqual([])
    expect(injector.headersFor('none')).toEqual([])
  })

  it('binds calls to a credential that may be rotated, not to its secret', () => {
    const injector = createInjector(upstreams)
    const before = ['a', 'b', 'c', 'd'].map((name) => injector.referenceOf(name).toString('hex'))
    injector.replace([
      { name: 'a', credential: { bearer: 'secret-2' } },
      { name: 'b', credential: { basic: { user: 'other', password: 'pässword' } } },
      { name: 'c', credential: { header: { name: 'x-api-token', value: 'secret-4' } } },
      { name: 'd', credential: { bearer: 'x' } },
    ])
    const after = ['a', 'b', 'c', 'd'].map((name) => injector.referenceOf(name).toString('hex'))
    expect(injector.headersFor('a')).toEqual(['authorization', 'Bearer secret-2'])
    expect(after[0]).toBe(before[0])
    expect(after[1]).not.toBe(before[1])
    expect(after[2]).toBe(before[2])
    expect(after[3]).not.toBe(before[3])
    expect(new Set(before).size).toBe(4)
  })
})
