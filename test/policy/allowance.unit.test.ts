import { describe, expect, it } from 'vitest'
import { createAllowance } from '../../src/policy/allowance.ts'
import { rateOptions } from '../../src/policy/options.ts'
import { AGENT } from '../protocols/http/gateway.ts'

const OTHER = { ...AGENT, subject: 'another-agent' }
const KIB = 1024

function allow(options: object = {}) {
  const clock = { at: 1000, monotonic: () => clock.at }
  return { clock, allowance: createAllowance({ options: rateOptions.parse(options), clock }) }
}

describe('calls of one principal under way', () => {
  it('are no more than it may have, and those of others do not count', () => {
    const { allowance } = allow({ open_per_principal: 2 })
    const ends = [allowance.begin(AGENT), allowance.begin(AGENT)]
    expect(allowance.take(AGENT)).toMatchObject({
      code: 'rate_limited',
      detail: expect.stringMatching(/^Not executed\. This agent has too many calls under way; /),
      retryAfterS: 1,
    })
    expect(allowance.take(OTHER)).toBeNull()
    ends[0]?.()
    expect(allowance.take(AGENT)).toBeNull()
  })

  it('are its own on behalf of whomever it acts', () => {
    const { allowance } = allow({ open_per_principal: 1 })
    allowance.begin(AGENT)
    expect(allowance.take({ ...AGENT, onBehalfOf: { issuer: 'https://idp.test', subject: 'bob' } })).not.toBeNull()
  })

  it('end once, however often they are ended', () => {
    const { allowance } = allow({ open_per_principal: 2 })
    const [first] = [allowance.begin(AGENT), allowance.begin(AGENT)]
    first()
    first()
    allowance.begin(AGENT)
    expect(allowance.take(AGENT)).not.toBeNull()
  })

  it('use nothing of its rate up when there are too many', () => {
    const { allowance } = allow({ open_per_principal: 1, per_principal: '1/s' })
    const end = allowance.begin(AGENT)
    for (let n = 0; n < 5; n++) expect(allowance.take(AGENT)?.detail).toContain('under way')
    end()
    expect(allowance.take(AGENT)).toBeNull()
    expect(allowance.take(AGENT)).toMatchObject({ code: 'rate_limited', retryAfterS: 1 })
  })
})

describe('a body that is read', () => {
  it('costs nothing more while it is small', () => {
    const { allowance } = allow({ per_principal: '1/h' })
    allowance.take(AGENT)
    for (let n = 0; n < 100; n++) expect(allowance.charge(AGENT, 8 * KIB - 1)).toBeNull()
  })

  it('costs a call more for every 8 KiB', () => {
    const { allowance, clock } = allow({ per_principal: '10/s' })
    allowance.take(AGENT)
    expect(allowance.charge(AGENT, 71 * KIB)).toBeNull()
    const refused = allowance.charge(AGENT, 16 * KIB)
    expect(refused).toMatchObject({ code: 'rate_limited', retryAfterS: 0.2 })
    expect(refused?.detail).toMatch(/^Not executed\. /)
    expect(allowance.charge(OTHER, 16 * KIB)).toBeNull()
    clock.at += 200
    expect([allowance.take(AGENT), allowance.charge(AGENT, 8 * KIB)]).toEqual([null, null])
  })

  it('may cost more than there ever is, if nothing else was called', () => {
    const { allowance, clock } = allow({ per_principal: '10/s' })
    expect([allowance.take(AGENT), allowance.charge(AGENT, 64 * KIB * KIB)]).toEqual([null, null])
    expect(allowance.take(AGENT)).not.toBeNull()
    clock.at += 1000
    expect([allowance.take(AGENT), allowance.charge(AGENT, 64 * KIB * KIB)]).toEqual([null, null])
  })
})
