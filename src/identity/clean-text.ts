/**
 * Whether a value is text that can be stored, compared and shown as it is: not empty, no longer than `maxLength` UTF-16
 * units, no control characters (NUL breaks databases, others break logs and screens), no lone surrogates.
 */
export function isCleanText(value: unknown, maxLength: number): value is string {
  if (typeof value !== 'string' || value.length === 0 || value.length > maxLength) return false
  // C0, DEL, C1 and the two Unicode line separators
  return !/[\p{Cc}\u2028\u2029]/u.test(value) && value.isWellFormed()
}
