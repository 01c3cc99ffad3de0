/** Begins each further row of a line. No line of ours begins so. */
const CONTINUED = '  ¦ '

/** A hash of ours, under its label: people and scripts copy it whole. */
const HASH = /^ {2}[a-z ]{16}[0-9a-f]{64}$/

/**
 * Breaks lines that are longer than a terminal's rows, and marks where they go on. A terminal breaks them too, but without
 * a mark: text of an agent that is filled up with blanks to the end of a row would go on at the very place where our own
 * lines begin, and look like one.
 */
export function fold(lines: readonly string[], columns: number): readonly string[] {
  return lines.flatMap((line) => foldLine(line, Math.max(columns, 20)))
}

function foldLine(line: string, columns: number): readonly string[] {
  // A character of ASCII is one column.
  if ((line.length <= columns && /^[ -~]*$/.test(line)) || HASH.test(line)) return [line]
  const rows: string[] = []
  let row = ''
  let width = 0
  for (const character of line) {
    const more = widthOf(character)
    if (width + more > columns) {
      rows.push(row)
      row = CONTINUED
      width = CONTINUED.length
    }
    row += character
    width += more
  }
  return [...rows, row]
}

/** The most columns that a terminal may give a character: which are wide is not the same everywhere. */
function widthOf(character: string): number {
  if (character === '\t') return 8
  return (character.codePointAt(0) ?? 0) < 0x1100 ? 1 : 2
}
