import { describe, expect, it } from 'vitest'
import { newApprovalId, newCallId, newUserId } from '../../src/platform/id.ts'

describe('newCallId', () => {
  it('is a UUIDv7 with the time in its first 48 bits', () => {
    const id = newCallId(0x0123456789ab)
    expect(id).toMatch(/^01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  it('sorts by time', () => {
    const ids = [1_000, 2_000, 1_700_000_000_000, 1_800_000_000_000].map((now) => newCallId(now))
    expect([...ids].sort()).toEqual(ids)
  })

  it('differs each time within one millisecond', () => {
    expect(new Set(Array.from({ length: 10_000 }, () => newCallId(5))).size).toBe(10_000)
  })
})

describe('newApprovalId', () => {
  it('is 10 characters that cannot be mistaken for one another', () => {
    expect(newApprovalId()).toMatch(/^[0-9A-HJKMNP-TV-Z]{10}$/)
  })

  it('uses 5 bits of each random byte', () => {
    expect(newApprovalId(Uint8Array.of(0, 1, 9, 10, 17, 18, 31, 32, 255, 63))).toBe('019AHJZ0ZZ')
  })
})

describe('newUserId', () => {
  it('is 20 characters that nothing has to quote, another time others', () => {
    expect(newUserId()).toMatch(/^[0-9a-hjkmnp-tv-z]{20}$/)
    expect(newUserId()).not.toBe(newUserId())
  })
})
