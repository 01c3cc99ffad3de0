import { describe, expect, it } from 'vitest'
import { createUnderWay } from '../../src/commands/under-way.ts'
import type { Arrival, Exchange } from '../../src/domain/call.ts'
import { AGENT } from '../protocols/http/gateway.ts'

function arrivalOf(id: string, more: Partial<Arrival> = {}): Arrival {
  return {
    id,
    upstream: { name: 'billing', protocol: 'http', labels: {}, mode: 'enforce', waitMs: 0 },
    credential: { token: 'a.b.c', via: 'bearer' },
    source: '127.0.0.1',
    open: (principal) => ({ id, principal }) as Exchange, // more of it is not looked at here
    refuse: () => Promise.resolve(),
    ...more,
  }
}

/** How many calls count, with a gate that does `pass`. */
function count(pass: (arrival: Arrival) => Promise<void>) {
  const seen = { open: 0 }
  const underWay = createUnderWay({
    pass,
    begin(principal) {
      expect(principal).toBe(AGENT)
      seen.open++
      return () => {
        seen.open--
      }
    },
  })
  return { seen, underWay }
}

describe('a call', () => {
  it('counts from the moment it is bound to its principal, until it is over', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { seen, underWay } = count((arrival) => {
      expect(seen.open).toBe(0)
      expect(arrival.open(AGENT)).toEqual({ id: 'c1', principal: AGENT })
      return promise
    })
    const passed = underWay.pass(arrivalOf('c1'))
    expect(seen.open).toBe(1)
    resolve()
    await passed
    expect(seen.open).toBe(0)
  })

  it('counts no more once it has failed', async () => {
    const { seen, underWay } = count(async (arrival) => {
      arrival.open(AGENT)
      throw new Error('failed')
    })
    await expect(underWay.pass(arrivalOf('c1'))).rejects.toThrow('failed')
    expect([seen.open, underWay.oldestCallId()]).toEqual([0, null])
  })

  it('counts no more if it cannot even be opened', async () => {
    const { seen, underWay } = count(async (arrival) => void arrival.open(AGENT))
    const open = () => {
      throw new Error('failed')
    }
    await expect(underWay.pass(arrivalOf('c1', { open }))).rejects.toThrow('failed')
    expect(seen.open).toBe(0)
  })

  it('that is refused before never counts', async () => {
    const { seen, underWay } = count((arrival) => arrival.refuse({ refused: true, code: 'draining', detail: 'No.' }))
    await underWay.pass(arrivalOf('c1'))
    expect(seen.open).toBe(0)
  })
})

it('knows the oldest call, from its arrival on', async () => {
  const ends = new Map<string, () => void>()
  const { underWay } = count(async (arrival) => {
    if (arrival.id !== 'c2') arrival.open(AGENT)
    await new Promise<void>((resolve) => ends.set(arrival.id, resolve))
  })
  const passed = ['c1', 'c2', 'c3'].map((id) => underWay.pass(arrivalOf(id)))
  const oldest = [underWay.oldestCallId()]
  for (const [index, id] of ['c1', 'c2', 'c3'].entries()) {
    ends.get(id)?.()
    await passed[index]
    oldest.push(underWay.oldestCallId())
  }
  expect(oldest).toEqual(['c1', 'c2', 'c3', null])
})
