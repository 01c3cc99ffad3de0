import { html as tag } from 'hono/html'
import type { HtmlEscapedString } from 'hono/utils/html'
import { makeVisible } from '../../domain/visible.ts'

export type Html = HtmlEscapedString

/**
 * What may stand in a page. Objects may not: the library takes for HTML whatever says of itself that it is, and what an
 * agent sent as JSON could say so.
 */
export type Piece = string | number | false | null | undefined | Html | readonly Piece[]

/** Text is escaped wherever it stands, in attributes too; only what `html` made is not. */
export function html(strings: TemplateStringsArray, ...pieces: readonly Piece[]): Html {
  const made = tag(strings, ...pieces)
  if (made instanceof Promise) throw new TypeError('a page is made of what is at hand')
  return made
}

/** One line of text of somebody else's: what would be invisible, or reorder its neighbours, is written out. */
export function shown(text: string): string {
  return makeVisible(text)
}

/** The same for text of several lines. */
export function shownLines(text: string): string {
  return makeVisible(text, { isMultiline: true })
}
