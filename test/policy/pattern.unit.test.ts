import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPatternTree, isMatch } from '../../src/policy/pattern.ts'

/** The definition, by recursion: slow, and plain to read. */
function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  const [first, ...rest] = pattern
  if (first === undefined) return segments.length === 0
  if (first === '**') return segments.some((_, index) => matches(rest, segments.slice(index))) || matches(rest, [])
  const [segment, ...others] = segments
  if (segment === undefined) return false
  return (first === '*' ? segment !== '' : first === segment) && matches(rest, others)
}

const segment = fc.constantFrom('a', 'b', 'c', '')
const patterns = fc.array(fc.constantFrom('a', 'b', '', '*', '**'), { minLength: 1, maxLength: 6 })

describe('patterns of resources', () => {
  it('match as defined', () => {
    fc.assert(
      fc.property(patterns, fc.array(segment, { minLength: 1, maxLength: 7 }), (pattern, segments) => {
        expect(isMatch(pattern.join('/'), segments.join('/'))).toBe(matches(pattern, segments))
      }),
      { numRuns: 2000 },
    )
  })

  it('match together as each does alone', () => {
    fc.assert(
      fc.property(
        fc.array(patterns, { maxLength: 20 }),
        fc.array(segment, { minLength: 1, maxLength: 7 }),
        (all, segments) => {
          const tree = createPatternTree()
          for (const [index, pattern] of all.entries()) tree.add(pattern.join('/'), index)
          const found = new Set<number>()
          tree.match(segments.join('/'), (value) => found.add(value))
          const expected = all.flatMap((pattern, index) => (matches(pattern, segments) ? [index] : []))
          expect([...found].sort((a, b) => a - b)).toEqual(expected)
        },
      ),
    )
  })

  it('take no more time the more a resource nearly matches', () => {
    const started = performance.now()
    expect(isMatch(`${'**/a/'.repeat(30)}b`, 'a/'.repeat(4000))).toBe(false)
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('treat what is special elsewhere as itself', () => {
    expect(isMatch('/a.b', '/axb')).toBe(false)
    expect(isMatch('/a?(b)[c]{d}', '/a?(b)[c]{d}')).toBe(true)
    expect(isMatch('/__proto__', '/__proto__')).toBe(true)
    expect(isMatch('/x', '/constructor')).toBe(false)
  })
})
