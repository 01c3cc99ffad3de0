import type { FactType } from '../domain/action.ts'

/**
 * Facts as CEL sees them. Objects become Maps, so that no key an agent chooses (`__proto__`, `constructor`) can reach
 * anything but its own value; whole numbers of declared facts become CEL's `int`, numbers of JSON stay `double`.
 */
export interface CelValue {
  readonly value: unknown
  /** How much there is to walk: one for each value, and one for every 64 characters. */
  readonly size: number
}

const DEEPEST = 100
const CHARACTERS_PER_STEP = 64

/** Throws if the fact is not of its declared type, or nested too deeply to walk. */
export function toCel(type: FactType, fact: unknown): CelValue {
  switch (type) {
    case 'string':
      if (typeof fact === 'string') return { value: fact, size: sizeOf(fact) }
      break
    case 'bool':
      if (typeof fact === 'boolean') return { value: fact, size: 1 }
      break
    case 'int':
      if (typeof fact === 'bigint') return { value: fact, size: 1 }
      if (typeof fact === 'number' && Number.isSafeInteger(fact)) return { value: BigInt(fact), size: 1 }
      break
    case 'double':
      if (typeof fact === 'number') return { value: fact, size: 1 }
      break
    case 'list<string>':
      if (isTexts(fact)) return measured(fact)
      break
    case 'map<string, list<string>>': {
      const copy = measured(fact)
      if (copy.value instanceof Map && [...copy.value.values()].every(isTexts)) return copy
      break
    }
    case 'dyn':
      return measured(fact)
  }
  throw new TypeError(`is not of its declared type, ${type}`)
}

function measured(data: unknown): CelValue {
  let size = 0

  function copy(from: unknown, depth: number): unknown {
    if (depth > DEEPEST) throw new RangeError('is nested too deeply')
    size += typeof from === 'string' ? sizeOf(from) : 1
    if (from === null || ['string', 'number', 'boolean', 'bigint'].includes(typeof from)) return from
    if (typeof from !== 'object') throw new TypeError('is not data')
    if (Array.isArray(from)) return from.map((item) => copy(item, depth + 1))
    const entries = from instanceof Map ? [...from] : Object.entries(from)
    return new Map(entries.map(([key, value]) => [key, copy(value, depth + 1)]))
  }

  const value = copy(data, 0)
  return { value, size }
}

function sizeOf(text: string): number {
  return 1 + Math.floor(text.length / CHARACTERS_PER_STEP)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
