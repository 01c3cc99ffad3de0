/** What was made of texts lately, bounded in entries and in the length of the texts. */
export interface Recent<Value> {
  get(text: string): Value | undefined
  set(text: string, value: Value): void
}

/** Keeps the values of texts used last. A text longer than a tenth of `maxChars` is not kept. */
export function keepRecent<Value>({ maxEntries, maxChars }: { maxEntries: number; maxChars: number }): Recent<Value> {
  const values = new Map<string, Value>()
  let chars = 0
  return {
    get(text) {
      const value = values.get(text)
      if (value === undefined) return undefined
      // A map keeps the order in which its keys came: the first is the one not used for longest.
      values.delete(text)
      values.set(text, value)
      return value
    },
    set(text, value) {
      if (text.length * 10 > maxChars || values.has(text)) return
      values.set(text, value)
      chars += text.length
      for (const oldest of values.keys()) {
        if (values.size <= maxEntries && chars <= maxChars) return
        values.delete(oldest)
        chars -= oldest.length
      }
    },
  }
}
