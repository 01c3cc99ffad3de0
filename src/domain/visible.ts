/**
 * Characters that a person would not see, or that change how others are shown: controls and format characters (bidi
 * among them), unassigned and private ones, whatever is ignorable by default (zero-width, variation selectors, fillers),
 * line separators, spaces that are not the space, and the blank of Braille.
 */
const UNSEEN = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\p{Zs}\u2800]/gu

/** More marks on one letter than any script needs; they would be painted over the lines above and below. */
const STACKED_MARKS = /(\p{M}{4})(\p{M}+)/gu

/**
 * Text as it can be shown to somebody who has to judge it: every character that would be invisible, or would reorder
 * its neighbours, is written out as `⟨U+202E⟩`. Tabs stay. `isMultiline` keeps line feeds; without it they are written
 * out too, so that a value cannot pretend to be the next line.
 */
export function makeVisible(text: string, { isMultiline = false } = {}): string {
  return text
    .replace(UNSEEN, (character) => {
      if (character === ' ' || character === '\t' || (isMultiline && character === '\n')) return character
      return writeOut(character)
    })
    .replace(STACKED_MARKS, (_, kept: string, rest: string) => kept + [...rest].map(writeOut).join(''))
}

function writeOut(character: string): string {
  return `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`
}

/** The first `maxLength` UTF-16 units, never half of a surrogate pair. */
export function cut(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text
  const end = /[\uD800-\uDBFF]/.test(text.charAt(maxLength - 1)) ? maxLength - 1 : maxLength
  return text.slice(0, end)
}

/**
 * At most `maxLength` units of visible text, and whether that is less than all of it. What is far beyond is not even
 * looked at: writing out never makes a text shorter. (Two units more than the limit, as a pair may be cut from the end.)
 */
export function fitInto(
  text: string,
  maxLength: number,
  how: { readonly isMultiline?: boolean } = {},
): { readonly text: string; readonly isCut: boolean } {
  const visible = makeVisible(cut(text, maxLength + 2), how)
  return { text: cut(visible, maxLength), isCut: visible.length > maxLength }
}
