/**
 * The one JSON text of a value: keys sorted by UTF-16 code units, no white space, numbers and strings as ECMAScript
 * writes them (RFC 8785). Unlike there, a lone surrogate becomes U+FFFD instead of an error: a card must be made of
 * whatever an agent claims. Properties that are undefined are left out.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item: unknown) => canonicalJson(item ?? null)).join(',')}]`
  if (typeof value !== 'object' || value === null) {
    return JSON.stringify(typeof value === 'string' ? value.toWellFormed() : (value ?? null))
  }
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key.toWellFormed())}:${canonicalJson(member)}`)
  return `{${members.join(',')}}`
}
