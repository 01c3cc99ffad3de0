import { makeVisible } from '../../domain/visible.ts'

export type Cell = string | number | null

/** What spreadsheets take for a formula, at the beginning of a cell: agents choose what some cells say. */
const FORMULA = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/

/** One line of CSV (RFC 4180). Texts are quoted, on one line, with what is invisible written out; none is a formula. */
export function csvLine(cells: readonly Cell[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`
}

function csvCell(cell: Cell): string {
  if (cell === null) return ''
  if (typeof cell === 'number') return String(cell)
  const text = makeVisible(cell)
  return `"${(FORMULA.test(cell) || FORMULA.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`
}
