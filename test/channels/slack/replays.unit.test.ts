import { describe, expect, it } from 'vitest'
import { createReplayCache } from '../../../src/channels/slack/replays.ts'

function start() {
  let now = 0
  const cache = createReplayCache({ now: () => now, monotonic: () => now })
  return {
    cache,
    pass: (ms: number) => {
      now += ms
    },
  }
}

describe('the replay cache', () => {
  it('knows what it has seen, for twice the window of a signature', () => {
    const { cache, pass } = start()
    expect(cache.isNew('a')).toBe(true)
    expect(cache.isNew('a')).toBe(false)
    pass(10 * 60_000 - 1)
    expect(cache.isNew('a')).toBe(false)
    pass(1)
    expect(cache.isNew('a')).toBe(true)
  })

  it('forgets the oldest when full, and nothing newer', () => {
    const { cache } = start()
    for (let index = 0; index < 10_001; index++) cache.isNew(`id ${index}`)
    expect(cache.isNew('id 10000')).toBe(false)
    expect(cache.isNew('id 5000')).toBe(false)
    expect(cache.isNew('id 0')).toBe(true)
  })
})
