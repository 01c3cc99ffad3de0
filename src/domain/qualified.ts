const PART = /(?:([a-z_][a-z0-9_$]*)|"((?:[^"\0]|"")+)")(\.|$)/y

/**
 * The parts of a name as SQL writes it: each in lower case, or in double quotes. Null for anything else, so also for
 * `Public.Orders`, which SQL takes for `public.orders` and a reader does not.
 */
export function parseQualified(text: string): readonly string[] | null {
  const parts: string[] = []
  const part = new RegExp(PART)
  for (;;) {
    const [, plain, quoted, end] = part.exec(text) ?? []
    if (end === undefined) return null
    parts.push(plain ?? quoted?.replaceAll('""', '"') ?? '')
    if (end === '') return parts
  }
}

/** Writes it back. */
export function formatQualified(parts: readonly string[]): string {
  return parts.map((part) => (/^[a-z_][a-z0-9_$]*$/.test(part) ? part : `"${part.replaceAll('"', '""')}"`)).join('.')
}
