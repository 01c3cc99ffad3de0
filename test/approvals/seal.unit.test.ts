import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeStored, encodeStored, newEnvelope, sealAlso, unseal } from '../../src/approvals/seal.ts'
import { secretKeys, sha256 } from './parts.ts'

const BINDING = { id: '7Q3F000000', digest: sha256('one') }

describe('what is kept of a call', () => {
  const keys = secretKeys('p1')
  const envelope = newEnvelope(keys, BINDING)
  const sealed = envelope.seal('call', Buffer.from('the call'))
  const kept = { ...BINDING, wrapped: envelope.wrapped }

  it('is read with the key it was sealed under, and later fields with it', () => {
    expect(unseal(keys, kept, { field: 'call', sealed })?.toString()).toBe('the call')
    const response = sealAlso(keys, kept, { field: 'response', plaintext: Buffer.from('the response') })
    expect(unseal(keys, kept, { field: 'response', sealed: response })?.toString()).toBe('the response')
  })

  it('is gone with its key', () => {
    expect(unseal(keys, { ...BINDING, wrapped: null }, { field: 'call', sealed })).toBeNull()
    expect(unseal(keys, kept, { field: 'call', sealed: null })).toBeNull()
  })

  it('is opened neither elsewhere, nor altered, nor by another gateway', () => {
    const altered = Buffer.from(sealed)
    altered.writeUInt8(altered.readUInt8(20) ^ 1, 20)
    expect(() => unseal(keys, { ...kept, id: '7Q3F000001' }, { field: 'call', sealed })).toThrow('altered')
    expect(() => unseal(keys, { ...kept, digest: sha256('two') }, { field: 'call', sealed })).toThrow('altered')
    expect(() => unseal(keys, kept, { field: 'response', sealed })).toThrow('altered')
    expect(() => unseal(keys, kept, { field: 'call', sealed: altered })).toThrow('altered')
    expect(() => unseal(secretKeys('p2'), kept, { field: 'call', sealed })).toThrow('not configured')
    expect(() => unseal(secretKeys('p1'), kept, { field: 'call', sealed })).toThrow('altered')
  })

  it('comes back as it was', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), fc.uint8Array(), (head, body) => {
        const stored = decodeStored(encodeStored({ head, body }))
        expect(stored.head).toEqual(JSON.parse(JSON.stringify(head)))
        expect(Buffer.from(stored.body)).toEqual(Buffer.from(body))
      }),
    )
  })
})
