/** What a client prefers of the gateway (RFC 7240); what it prefers of the upstream is in `rest`. */
export interface Preferences {
  readonly isDetached: boolean
  /** Seconds it will wait; null if it does not say. */
  readonly waitS: number | null
  /** The preferences that are not the gateway's, as one header value; empty if there are none. */
  readonly rest: string
}

const NONE: Preferences = { isDetached: false, waitS: null, rest: '' }

/** Reads every `Prefer` of a request, joined with commas. Of a preference given twice the first counts (section 2). */
export function parsePrefer(value: string | undefined): Preferences {
  if (value === undefined) return NONE
  let isDetached = false
  let waitS: number | null = null
  const rest: string[] = []
  for (const preference of splitOutsideQuotes(value)) {
    const name = (preference.split(/[=;\s]/, 1)[0] ?? '').toLowerCase()
    if (name === 'respond-async') isDetached = true
    else if (name === 'wait') waitS ??= parseWait(preference)
    else if (name !== '') rest.push(preference)
  }
  return { isDetached, waitS, rest: rest.join(', ') }
}

function parseWait(preference: string): number | null {
  const seconds = /^wait\s*=\s*"?([0-9]{1,6})"?\s*(?:;.*)?$/i.exec(preference)?.[1]
  return seconds === undefined ? null : Number(seconds)
}

function splitOutsideQuotes(value: string): string[] {
  const parts: string[] = []
  let start = 0
  let isQuoted = false
  for (let index = 0; index <= value.length; index++) {
    const character = value[index]
    if (character === '"') isQuoted = !isQuoted
    if (index === value.length || (character === ',' && !isQuoted)) {
      parts.push(value.slice(start, index).trim())
      start = index + 1
    }
  }
  return parts
}
