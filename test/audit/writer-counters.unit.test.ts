import fc from 'fast-check'
import { expect, it } from 'vitest'
import { createWriterCounters } from '../../src/audit/writer-counters.ts'

it('tells an entry that was noted before from a new one, in whatever order they come', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b'), fc.integer({ min: 1, max: 40 }))), (entries) => {
      const counters = createWriterCounters()
      const seen = new Set<string>()
      for (const [writer, n] of entries) {
        expect(counters.note(writer, n)).toBe(!seen.has(`${writer}${n}`))
        seen.add(`${writer}${n}`)
      }
    }),
  )
})
