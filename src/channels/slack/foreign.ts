import { fitInto } from '../../domain/visible.ts'
import { code, type Inline, plain } from './rich-text.ts'

const MAX_FIELD = 300
/** How many items of a list are shown. */
export const MAX_LISTED = 10

/** One line of text from outside, cut where it is long: for what a decision does not hang on. */
export function clean(text: string, maxLength = MAX_FIELD): string {
  const fitting = fitInto(text, maxLength)
  return fitting.isCut ? `${fitting.text}…` : fitting.text
}

/** Writes lines of text from outside that have to be complete for Approve to be offered; notes in `missing` if one is not. */
export function createField(missing: string[], complaint: string): (text: string) => Inline {
  return (text) => {
    if (fitInto(text, MAX_FIELD).isCut) missing.push(complaint)
    return code(clean(text))
  }
}

export function list(items: readonly string[], write: (text: string) => Inline): Inline[] {
  const shown = items.slice(0, MAX_LISTED).flatMap((item, index) => {
    return index === 0 ? [write(item)] : [plain(', '), write(item)]
  })
  return items.length > MAX_LISTED ? [...shown, plain(` and ${items.length - MAX_LISTED} more`)] : shown
}
