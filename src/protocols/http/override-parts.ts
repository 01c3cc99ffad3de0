/** A part's head is no longer, or it is none. */
const MAX_PART_HEAD = 16 * 1024

/**
 * Finds the heads of a body's parts (RFC 2046, section 5.1), wherever its chunks are cut, and in them a part that is
 * called like a method. Takes more for a head than the upstream may, also behind the last boundary.
 */
export function createPartsInspector(boundary: string): (chunk: Buffer) => boolean {
  const mark = `--${boundary}`
  const end = /\n\r?\n/g
  let rest = ''
  let isInHead = false
  /** Up to where `rest` was searched for the end of its head. */
  let searched = 0
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
        searched = 0
      }
      const isLast = text.startsWith('--')
      const window = text.slice(0, MAX_PART_HEAD + '\n\r\n'.length)
      end.lastIndex = searched
      const found = end.exec(window)
      if (!found && text.length > window.length) {
        if (!isLast || namesMethodInHead(window)) return false
        // Behind the last boundary anything may come. What this has looked at, it does not look at again.
        const next = window.lastIndexOf(mark)
        text = text.slice(next > 0 ? next : MAX_PART_HEAD - mark.length)
        isInHead = false
        continue
      }
      if (!found) {
        rest = text
        searched = Math.max(0, text.length - 2)
        return true
      }
      const head = text.slice(0, found.index)
      if (namesMethodInHead(head) || (!isLast && /\r(?!\n|$)/.test(head))) return false
      text = text.slice(found.index + found[0].length)
      isInHead = false
    }
  }
}

// `name="_method"`, `name=_method`, `name*=utf-8''_method`, `Content-ID: <_method>`, PHP's forms, and brackets that Rack
// and qs take away.
const NAMES_METHOD =
  /(?:(?<!\w)name[*0-9]*\s*=(?:\s*[\w.-]*'[^']*')?|content-id\s*:)["'\s[\]<]*(?:[_. [\]]|(?<=[ [\]]))method(?=["'\s;,[\]>\0]|$)/i

/** A head without its backslashes, as it stands and as those read it who decode names. */
function namesMethodInHead(raw: string): boolean {
  if (!/name|content-id/i.test(raw)) return false
  const head = raw.replaceAll('\\', '')
  if (NAMES_METHOD.test(head)) return true
  if (head.includes('%') && NAMES_METHOD.test(decodePercent(head))) return true
  if (head.includes('=?') && NAMES_METHOD.test(decodeWords(head))) return true
  return /name\*[0-9]/i.test(head) && head.split(/\n(?![ \t])/).some((line) => joinPieces(line).some(holdsMethod))
}

function holdsMethod(name: string): boolean {
  return /[_. [\]]method/i.test(name)
}

function decodePercent(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** Encoded words (RFC 2047), which Java's parsers read in parameters. */
function decodeWords(text: string): string {
  return text.replace(/=\?[^?\s]{1,40}\?([qb])\?([^?]{0,200})\?=/gi, (_word, how: string, inner: string) =>
    how.toLowerCase() === 'b'
      ? Buffer.from(inner, 'base64').toString('latin1')
      : decodePercent(inner.replaceAll('_', ' ').replaceAll('=', '%')),
  )
}

/** A name in pieces (RFC 2231, section 3), put together by their numbers and as they come. */
function joinPieces(line: string): readonly string[] {
  const pieces = [...line.matchAll(/(?<!\w)name\*([0-9]{1,5})\*?\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"]*))/gi)].map(
    ([, number, ...values]) => ({
      number: Number(number),
      text: values.find((value) => value !== undefined) ?? '',
    }),
  )
  const join = (list: readonly { readonly text: string }[]) => decodePercent(list.map(({ text }) => text).join(''))
  return [join(pieces), join(pieces.toSorted((a, b) => a.number - b.number))]
}
