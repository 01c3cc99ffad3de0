import { describe, expect, it } from 'vitest'
import type { Entry } from '../../src/domain/entry.ts'
import { createRefusalTally } from '../../src/identity/refused-tokens.ts'
import { makeClock, silentLog } from './parts.ts'

function makeTally() {
  const entries: Entry[] = []
  const clock = makeClock(Date.UTC(2030, 0, 1, 12, 0, 30))
  const store = { isDown: false }
  const append = async (entry: Entry) => {
    if (store.isDown) throw new Error('down')
    entries.push(entry)
  }
  return { tally: createRefusalTally({ append, clock, log: silentLog }), entries, clock, store }
}

describe('createRefusalTally', () => {
  it('makes one entry of a kind, a minute, a source and a reason', async () => {
    const { tally, entries, clock } = makeTally()
    for (let n = 0; n < 3; n++) tally.count('token_refused', '10.0.0.1', 'expired')
    tally.count('token_refused', '10.0.0.2', 'expired')
    tally.count('malformed', '10.0.0.1', 'expired')
    clock.advance(30_000)
    tally.count('token_refused', '10.0.0.1', 'expired')
    await tally.close()
    const [noon, next] = ['2030-01-01T12:00:00.000Z', '2030-01-01T12:01:00.000Z']
    expect(entries).toEqual([
      { kind: 'token_refused', detail: { minute: noon, source: '10.0.0.1', reason: 'expired', count: 3 } },
      { kind: 'token_refused', detail: { minute: noon, source: '10.0.0.2', reason: 'expired', count: 1 } },
      { kind: 'malformed', detail: { minute: noon, source: '10.0.0.1', reason: 'expired', count: 1 } },
      { kind: 'token_refused', detail: { minute: next, source: '10.0.0.1', reason: 'expired', count: 1 } },
    ])
  })

  it('counts the sources of a flood as one beyond a bound, and loses none', async () => {
    const { tally, entries } = makeTally()
    for (let n = 0; n < 10_000; n++) tally.count('token_refused', `source ${n}`, n % 2 ? 'expired' : 'unknown')
    await tally.flush()
    expect(entries.length).toBeLessThanOrEqual(202)
    const counts = entries.map(({ detail }) => Number(detail?.['count']))
    expect(counts.reduce((sum, count) => sum + count)).toBe(10_000)
    expect(entries.at(-1)?.detail).toMatchObject({ source: 'other sources', minute: '2030-01-01T12:00:00.000Z' })
  })

  it('keeps what cannot be appended for the next time', async () => {
    const { tally, entries, clock, store } = makeTally()
    store.isDown = true
    tally.count('token_refused', '10.0.0.1', 'expired')
    await tally.flush()
    tally.count('token_refused', '10.0.0.1', 'expired')
    store.isDown = false
    clock.advance(60_000)
    await tally.flush()
    expect(entries).toMatchObject([{ detail: { minute: '2030-01-01T12:00:00.000Z', count: 2 } }])
    await tally.close()
  })

  it('writes nothing if nothing was refused', async () => {
    const { tally, entries } = makeTally()
    await tally.flush()
    await tally.close()
    expect(entries).toEqual([])
  })
})
