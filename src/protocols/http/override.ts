import { kindOf, parseMediaType } from './body.ts'
import type { RequestModel } from './model.ts'

/** Looks at a body as it passes; false once it holds what the upstream could take for another method. */
export type Inspect = (chunk: Buffer) => boolean

/** A part's head is no longer, or it is none. */
const MAX_PART_HEAD = 16 * 1024

/**
 * What looks for a method in a body that may be sent unread. Frameworks look there in a POST only: in forms (which are
 * always read, and not looked at here), in forms with parts, and some in JSON. Null where no framework looks.
 */
export function methodInspector({ method, contentType }: RequestModel): Inspect | null {
  if (method !== 'POST' || contentType === null) return null
  const type = parseMediaType(contentType)
  if (kindOf(type) === 'json') return inspectJson()
  if (type.essence !== 'multipart/form-data' || type.boundary === null) return null
  return hasOneBoundary(contentType) ? inspectParts(type.boundary) : () => false
}

// Every character of a JSON string may be escaped. Quotes on both sides: not within a longer text.
const JSON_KEY = new RegExp(`"${[...'_method'].map(orEscaped).join('')}"`, 'i')
const LONGEST_JSON_KEY = 2 + 7 * 6

function orEscaped(character: string): string {
  return `(?:${character}|\\\\u00${character.charCodeAt(0).toString(16)})`
}

function inspectJson(): Inspect {
  let end = ''
  return (chunk) => {
    const text = end + chunk.toString('latin1')
    if (JSON_KEY.test(text)) return false
    end = text.slice(-LONGEST_JSON_KEY)
    return true
  }
}

// In a part's head, without its backslashes: `name="_method"`, `name=_method`, `name*=utf-8''_method`, and PHP's forms.
const NAMES_METHOD = /(?:^|[;\s])name[*0-9]*\s*=\s*(?:[\w.-]*'[^']*')?["']? *[_. []method(?=["'\s;]|$)/i

/** Finds the heads of parts (RFC 7578), wherever the chunks are cut. Takes more for a head than the upstream may. */
function inspectParts(boundary: string): Inspect {
  const mark = `--${boundary}`
  let rest = ''
  let isInHead = false
  return (chunk) => {
    let text = rest + chunk.toString('latin1')
    for (;;) {
      if (!isInHead) {
        const at = text.indexOf(mark)
        if (at === -1) {
          rest = text.slice(-mark.length)
          return true
        }
        text = text.slice(at + mark.length)
        isInHead = true
      }
      const end = /\n\r?\n/.exec(text)
      if (!end) {
        rest = text
        return text.startsWith('--') || text.length <= MAX_PART_HEAD
      }
      if (NAMES_METHOD.test(text.slice(0, end.index).replaceAll('\\', ''))) return false
      text = text.slice(end.index + end[0].length)
      isInHead = false
    }
  }
}

/** Some look for the word, wherever it stands first. */
function hasOneBoundary(contentType: string): boolean {
  const at = contentType.toLowerCase().indexOf('boundary')
  return /[;\s]/.test(contentType[at - 1] ?? '') && contentType[at + 'boundary'.length] === '='
}
