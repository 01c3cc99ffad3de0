import { generateKeyPairSync, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  computeMac,
  decrypt,
  deriveSecret,
  encrypt,
  exportJwks,
  isValidMac,
  isValidSignature,
  newDataKey,
  selectKey,
  sign,
  unwrapDataKey,
} from '../../src/platform/keys.ts'
import { findKeyFaults, generateKeys, type KeysConfig, readKeys } from '../../src/platform/load-keys.ts'

const bytes = (text: string) => Buffer.from(text, 'utf8')

/** The keys of `config` after every one was replaced by a fresh one. */
function rotate(config: KeysConfig): KeysConfig {
  const next = generateKeys()
  const pair = (purpose: keyof KeysConfig) => ({
    ...next[purpose],
    previous: { kid: config[purpose].kid, key: config[purpose].current },
  })
  return {
    payload: pair('payload'),
    mac: pair('mac'),
    cookie: pair('cookie'),
    assertion: pair('assertion'),
    checkpoint: pair('checkpoint'),
  }
}

const config = generateKeys()
const keys = readKeys(config)
const rotated = readKeys(rotate(config))
const rotatedTwice = readKeys(rotate(rotate(config)))

describe('deriveSecret', () => {
  const parts = ['cs_1', bytes('row')]
  const { current } = keys.mac

  it('is the same for the same key, label and parts alone', () => {
    const secret = deriveSecret(current, 'password', parts)
    expect(secret).toHaveLength(32)
    expect(deriveSecret(current, 'password', ['cs_1', bytes('row')])).toEqual(secret)
    for (const other of [
      deriveSecret(current, 'salt', parts),
      deriveSecret(current, 'password', ['cs_1r', bytes('ow')]),
      deriveSecret(keys.cookie.current, 'password', parts),
    ]) {
      expect(other).not.toEqual(secret)
    }
  })

  it('is no MAC of the same', () => {
    expect(computeMac(keys.mac, 'password', parts).mac).not.toEqual(deriveSecret(current, 'password', parts))
  })

  it('is found again by the name of its key until that was rotated twice', () => {
    const secret = deriveSecret(current, 'password', parts)
    const before = selectKey(rotated.mac, current.kid)
    expect(before && deriveSecret(before, 'password', parts)).toEqual(secret)
    expect(selectKey(rotatedTwice.mac, current.kid)).toBeNull()
  })
})

describe('computeMac', () => {
  const parts = ['7Q3F', bytes('digest')]

  it('is valid for the same label and parts alone', () => {
    const claimed = computeMac(keys.mac, 'vote', parts)
    expect(isValidMac(keys.mac, 'vote', parts, claimed)).toBe(true)
    expect(isValidMac(keys.mac, 'grant', parts, claimed)).toBe(false)
    expect(isValidMac(keys.mac, 'vote', ['7Q3', 'F', bytes('digest')], claimed)).toBe(false)
    expect(isValidMac(keys.cookie, 'vote', parts, claimed)).toBe(false)
  })

  it('is refused when any bit of it differs, or its length', () => {
    const { kid, mac } = computeMac(keys.mac, 'vote', parts)
    fc.assert(
      fc.property(fc.nat(mac.length * 8 - 1), (bit) => {
        const altered = Buffer.from(mac)
        altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        return !isValidMac(keys.mac, 'vote', parts, { kid, mac: altered })
      }),
    )
    expect(isValidMac(keys.mac, 'vote', parts, { kid, mac: mac.subarray(0, 16) })).toBe(false)
    expect(isValidMac(keys.mac, 'vote', parts, { kid, mac: Buffer.alloc(0) })).toBe(false)
  })

  it('stays valid after one rotation, not after two, nor under another name', () => {
    const claimed = computeMac(keys.mac, 'vote', parts)
    expect(isValidMac(rotated.mac, 'vote', parts, claimed)).toBe(true)
    expect(isValidMac(rotatedTwice.mac, 'vote', parts, claimed)).toBe(false)
    expect(isValidMac(keys.mac, 'vote', parts, { ...claimed, kid: 'other' })).toBe(false)
  })
})

describe('data keys', () => {
  const place = ['7Q3F', bytes('digest'), 'call']

  it('open what they sealed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (plaintext) => {
        const { key, wrapped } = newDataKey(keys.payload)
        const sealed = encrypt(key, plaintext, place)
        return decrypt(unwrapDataKey(keys.payload, wrapped), sealed, place).equals(plaintext)
      }),
      { numRuns: 50 },
    )
  })

  it('do not open what was moved to another approval, digest or field', () => {
    const { key } = newDataKey(keys.payload)
    const sealed = encrypt(key, bytes('body'), place)
    for (const elsewhere of [
      ['8Q3F', bytes('digest'), 'call'],
      ['7Q3F', bytes('digesT'), 'call'],
      ['7Q3F', bytes('digest'), 'response'],
      ['7Q3Fdigest', 'call'],
    ]) {
      expect(() => decrypt(key, sealed, elsewhere)).toThrow(expect.objectContaining({ code: 'store' }))
    }
  })

  it('do not open what was altered or cut', () => {
    const { key, wrapped } = newDataKey(keys.payload)
    const sealed = encrypt(key, bytes('body'), place)
    for (let at = 0; at < sealed.length; at++) {
      const altered = Buffer.from(sealed)
      altered[at] = (altered[at] ?? 0) ^ 1
      expect(() => decrypt(key, altered, place)).toThrow(expect.objectContaining({ code: 'store' }))
      expect(() => decrypt(key, sealed.subarray(0, at), place)).toThrow(expect.objectContaining({ code: 'store' }))
    }
    for (let at = 0; at < wrapped.length; at++) {
      const altered = Buffer.from(wrapped)
      altered[at] = (altered[at] ?? 0) ^ 1
      expect(() => unwrapDataKey(keys.payload, altered)).toThrow(expect.objectContaining({ code: 'store' }))
    }
  })

  it('are wrapped by the current key and opened by the previous one too', () => {
    const { wrapped } = newDataKey(keys.payload)
    expect(unwrapDataKey(rotated.payload, wrapped).export()).toEqual(unwrapDataKey(keys.payload, wrapped).export())
    expect(() => unwrapDataKey(rotatedTwice.payload, wrapped)).toThrow(expect.objectContaining({ code: 'store' }))
  })

  it('differ, and seal the same bytes differently each time', () => {
    const [one, other] = [newDataKey(keys.payload), newDataKey(keys.payload)]
    expect(one.wrapped.equals(other.wrapped)).toBe(false)
    expect(encrypt(one.key, bytes('x'), place).equals(encrypt(one.key, bytes('x'), place))).toBe(false)
  })
})

describe('signing keys', () => {
  it('sign with the current key, and verify with the previous one too', () => {
    const statement = sign(keys.checkpoint, bytes('head'))
    expect(isValidSignature(keys.checkpoint, bytes('head'), statement)).toBe(true)
    expect(isValidSignature(rotated.checkpoint, bytes('head'), statement)).toBe(true)
    expect(isValidSignature(rotatedTwice.checkpoint, bytes('head'), statement)).toBe(false)
    expect(isValidSignature(keys.checkpoint, bytes('heaD'), statement)).toBe(false)
    expect(isValidSignature(keys.assertion, bytes('head'), statement)).toBe(false)
  })

  it('may be P-256 for assertions, as PEM or as a JWK', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    for (const current of [
      privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      privateKey.export({ format: 'pem', type: 'sec1' }).toString(),
      JSON.stringify(privateKey.export({ format: 'jwk' })),
    ]) {
      const { assertion } = readKeys({ ...config, assertion: { kid: 'a', current } })
      const signed = sign(assertion, bytes('claims'))
      expect(signed.signature).toHaveLength(64)
      expect(isValidSignature(assertion, bytes('claims'), signed)).toBe(true)
      expect(exportJwks(assertion).keys[0]).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', kid: 'a' })
    }
  })

  it('are published without anything private', () => {
    const { keys: published } = exportJwks(rotated.assertion)
    expect(published.map(({ kid }) => kid)).toEqual([rotated.assertion.kid, config.assertion.kid])
    for (const jwk of published) expect(Object.keys(jwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
    for (const jwk of exportJwks(rotated.checkpoint).keys)
      expect(Object.keys(jwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x'])
  })
})

describe('readKeys', () => {
  const hex = randomBytes(32).toString('hex')
  const pem = (type: 'ed25519' | 'x25519') =>
    type === 'ed25519'
      ? generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
      : generateKeyPairSync('x25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' })
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'pem', type: 'pkcs8' })

  it('takes secrets in hex, base64url and base64', () => {
    const secret = randomBytes(32)
    const forms = [secret.toString('hex'), secret.toString('base64url'), `${secret.toString('base64')}\n`]
    for (const current of forms) {
      expect(readKeys({ ...config, mac: { kid: 'a', current } }).mac.current.key.export()).toEqual(secret)
    }
  })

  const REFUSED: Readonly<Record<string, Partial<KeysConfig>>> = {
    'a secret that is too short': { mac: { kid: 'a', current: hex.slice(2) } },
    'a secret that is a passphrase': { mac: { kid: 'a', current: 'correct horse battery staple correct horse!' } },
    'an empty secret': { payload: { kid: 'a', current: '' } },
    'a kid with a blank': { mac: { kid: 'a b', current: hex } },
    'two keys of one kid': { mac: { kid: 'a', current: hex, previous: { kid: 'a', key: config.mac.current } } },
    'a current key that is the previous one': { mac: { kid: 'b', current: hex, previous: { kid: 'a', key: hex } } },
    'one secret for two purposes': { mac: { kid: 'a', current: hex }, cookie: { kid: 'a', current: hex } },
    'one signing key for two purposes': { assertion: config.checkpoint },
    'a checkpoint key that is not Ed25519': { checkpoint: { kid: 'a', current: p256.toString() } },
    'a signing key on another curve': { assertion: { kid: 'a', current: p384.toString() } },
    'a key that cannot sign': { assertion: { kid: 'a', current: pem('x25519') } },
    'a public key': {
      assertion: {
        kid: 'a',
        current: generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString(),
      },
    },
    'a signing key that is no PEM': { assertion: { kid: 'a', current: hex } },
  }
  for (const [what, changed] of Object.entries(REFUSED)) {
    it(`refuses ${what}, without quoting it`, () => {
      const given = Object.values(changed).map(({ current }) => current)
      let refusal: unknown
      try {
        readKeys({ ...config, ...changed })
      } catch (error) {
        refusal = error
      }
      expect(refusal).toMatchObject({ code: 'config', message: expect.stringContaining('keys.') })
      const text = refusal instanceof Error ? `${refusal.message} ${refusal.stack} ${String(refusal.cause)}` : ''
      for (const value of given) if (value) expect(text).not.toContain(value)
    })
  }

  it('finds whatever is wrong with any of them, each with the place of its key', () => {
    expect(findKeyFaults(config)).toEqual([])
    for (const changed of Object.values(REFUSED)) expect(findKeyFaults({ ...config, ...changed })).toHaveLength(1)
    const several = { payload: { kid: 'a', current: 'short' }, checkpoint: { kid: 'a', current: p256.toString() } }
    expect(findKeyFaults({ ...config, ...several })).toEqual([
      { path: ['keys', 'payload'], message: 'keys.payload.current is not 32 bytes in hex or base64url' },
      { path: ['keys', 'checkpoint'], message: 'keys.checkpoint.current must be an Ed25519 key' },
    ])
  })

  it('gives keys that neither JSON nor a log shows', () => {
    expect(JSON.stringify(keys)).not.toContain(config.mac.current)
    expect(JSON.stringify(keys.mac.current)).toBe(`{"kid":"${config.mac.kid}","key":{}}`)
  })
})
