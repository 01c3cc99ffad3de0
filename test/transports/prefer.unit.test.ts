import { describe, expect, it } from 'vitest'
import { parsePrefer } from '../../src/transports/http/prefer.ts'

describe('parsePrefer', () => {
  it.each([
    [undefined, false, null, ''],
    ['respond-async', true, null, ''],
    ['Respond-Async, wait=10', true, 10, ''],
    ['wait = "5"; x=y, wait=9', false, 5, ''],
    ['wait=-1', false, null, ''],
    ['wait=1e9', false, null, ''],
    ['return=minimal, handling="a, wait=3"', false, null, 'return=minimal, handling="a, wait=3"'],
  ])('%s', (value, isDetached, waitS, rest) => {
    expect(parsePrefer(value)).toEqual({ isDetached, waitS, rest })
  })
})
