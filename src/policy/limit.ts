import { parseDuration, parseSize } from '../domain/units.ts'
import type { Limit } from '../domain/verdict.ts'

const SHORTEST_WINDOW_MS = 1000
const LONGEST_WINDOW_MS = 31 * 86_400_000

/** Reads `10MiB per call`, `100MiB per 1h`, `5000 rows per 1h`, `100 calls per 1m`; null for anything else. */
export function parseLimit(text: string): Omit<Limit, 'rule' | 'requirement'> | null {
  const words = text.trim().split(/ +/)
  const per = words.at(-2)
  const scope = words.at(-1)
  if (per !== 'per' || scope === undefined) return null

  const quantity = parseQuantity(words.slice(0, -2))
  if (!quantity) return null
  if (scope === 'call') return quantity.unit === 'calls' ? null : { ...quantity, windowMs: null }
  const windowMs = parseDuration(scope)
  if (windowMs === null || windowMs < SHORTEST_WINDOW_MS || windowMs > LONGEST_WINDOW_MS) return null
  return { ...quantity, windowMs }
}

function parseQuantity(words: readonly string[]): Pick<Limit, 'unit' | 'amount'> | null {
  const [first, unit, more] = words
  if (first === undefined || more !== undefined) return null
  if (unit === undefined) {
    const amount = parseSize(first)
    return amount === null ? null : { unit: 'bytes', amount }
  }
  if (unit !== 'rows' && unit !== 'calls') return null
  return /^[1-9][0-9]{0,14}$/.test(first) ? { unit, amount: Number(first) } : null
}
