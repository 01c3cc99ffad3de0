/** Begins each further row of a line. No line of ours begins so. */
const CONTINUED = '  ¦ '

/** A hash of ours, under its label: people and scripts copy it whole. */
const HASH = /^ {2}[a-z ]{16}[0-9a-f]{64}$/

/**
 * Breaks lines that are longer than a terminal's rows, and marks where they go on. A terminal breaks them too, but without
 * a mark: text of an agent that is filled up with blanks to the end of a row would go on at the very place where our own
 * lines begin, and look like one.
 *
 * It breaks at a blank where it can, so that a word is found again. `columns` is Infinity where there is no terminal.
 */
export function fold(lines: readonly string[], columns: number): readonly string[] {
  if (columns === Number.POSITIVE_INFINITY) return lines
  return lines.flatMap((line) => foldLine(line, Math.max(columns, 20)))
}

function foldLine(line: string, columns: number): readonly string[] {
  // A character of ASCII is one column.
  if ((line.length <= columns && /^[ -~]*$/.test(line)) || HASH.test(line)) return [line]
  const rows: string[] = []
  let row = ''
  let width = 0
  function breakRow(): void {
    rows.push(row)
    row = CONTINUED
    width = CONTINUED.length
  }
  for (const [part] of line.matchAll(/ +|[^ ]+/g)) {
    const whole = widthOfWord(part)
    // A word goes on whole, if a row of its own can hold it.
    if (!part.startsWith(' ') && width + whole > columns && CONTINUED.length + whole <= columns) breakRow()
    for (const character of part) {
      const more = widthOf(character)
      if (width + more > columns) breakRow()
      row += character
      width += more
    }
  }
  return [...rows, row]
}

function widthOfWord(word: string): number {
  let width = 0
  for (const character of word) width += widthOf(character)
  return width
}

/** The most columns that a terminal may give a character: which are wide is not the same everywhere. */
function widthOf(character: string): number {
  if (character === '\t') return 8
  return (character.codePointAt(0) ?? 0) < 0x1100 ? 1 : 2
}
