const MAX_TAGS = 20
const MAX_CHARS = 200
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

/**
 * What a comment at the end (or at the beginning) of a statement says in the format of sqlcommenter
 * (google.github.io/sqlcommenter/spec): `key='value'` pairs, percent-encoded, with commas between. It is the agent's
 * claim: nothing follows from it.
 */
export function readComment(text: string): { trace?: string; tags: Record<string, string> } {
  const tags: Record<string, string> = Object.create(null) as Record<string, string>
  const body = commentOf(text.trim())
  for (const pair of body?.split(',').slice(0, MAX_TAGS) ?? []) {
    const match = /^\s*([\w.%-]{1,64})\s*=\s*'((?:[^'\\]|\\')*)'\s*$/.exec(pair)
    const key = match?.[1] === undefined ? null : decode(match[1])
    const value = match?.[2] === undefined ? null : decode(match[2].replaceAll("\\'", "'"))
    if (key !== null && value !== null) tags[key] = value.slice(0, MAX_CHARS)
  }
  const trace = tags['traceparent']
  return { tags: { ...tags }, ...(trace !== undefined && TRACEPARENT.test(trace) ? { trace } : {}) }
}

function commentOf(text: string): string | null {
  if (text.endsWith('*/')) {
    const start = text.lastIndexOf('/*')
    return start === -1 ? null : text.slice(start + 2, -2)
  }
  if (text.startsWith('/*')) {
    const end = text.indexOf('*/')
    return end === -1 ? null : text.slice(2, end)
  }
  return null
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
