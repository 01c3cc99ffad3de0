const DURATION_UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_UNITS_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** Reads `50s`, `15m`, `8h`, `300ms`, `7d` as milliseconds; null for anything else, also for `0s`. */
export function parseDuration(text: string): number | null {
  return parseQuantity(text, DURATION_UNITS_MS)
}

/** Reads `10MiB`, `64KiB`, `1GiB`, `512B` as bytes; null for anything else. */
export function parseSize(text: string): number | null {
  return parseQuantity(text, SIZE_UNITS_BYTES)
}

function parseQuantity(text: string, units: Readonly<Record<string, number>>): number | null {
  const match = /^([1-9][0-9]{0,11})([A-Za-z]+)$/.exec(text)
  const unit = match?.[2] === undefined ? undefined : units[match[2]]
  if (!match || unit === undefined) return null
  const quantity = Number(match[1]) * unit
  return Number.isSafeInteger(quantity) ? quantity : null
}

/** The shortest exact form of a duration: 90000 is `90s`, 3600000 is `1h`. */
export function formatDuration(ms: number): string {
  for (const [unit, factor] of Object.entries(DURATION_UNITS_MS).reverse()) {
    if (ms >= factor && ms % factor === 0) return `${ms / factor}${unit}`
  }
  return `${ms}ms`
}
