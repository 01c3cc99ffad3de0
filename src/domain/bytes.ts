/**
 * Joins parts so that no two different lists give the same bytes: a domain label first, then each part after its
 * length in bytes (64 bits, big-endian). What is hashed, MACed or signed is always built by this.
 */
export function lengthPrefixed(label: string, parts: readonly (string | Uint8Array)[]): Buffer {
  const chunks: Uint8Array[] = []
  for (const part of [label, ...parts]) {
    const bytes = typeof part === 'string' ? Buffer.from(part, 'utf8') : part
    const length = Buffer.alloc(8)
    length.writeBigUInt64BE(BigInt(bytes.length))
    chunks.push(length, bytes)
  }
  return Buffer.concat(chunks)
}
