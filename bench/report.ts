/** A figure with its target, if there is one. */
export interface Row {
  readonly label: string
  /** By column; null where it does not apply. */
  readonly values: Readonly<Record<string, number | string | null>>
  /** Null if there is no target. */
  readonly isMet: boolean | null
}

export interface Table {
  readonly title: string
  /** What was measured, in a sentence. */
  readonly about: string
  readonly columns: readonly string[]
  readonly rows: readonly Row[]
}

/** A table in Markdown. A target that was missed is marked. */
export function formatTable({ title, about, columns, rows }: Table): string {
  const cells = rows.map(({ label, values, isMet }) => [
    label,
    ...columns.map((column) => formatValue(values[column] ?? null)),
    isMet === null ? '' : isMet ? 'met' : '**missed**',
  ])
  const header = ['', ...columns, 'target']
  const lines = [header, header.map((_, index) => (index === 0 ? ':--' : '--:')), ...cells]
  return `## ${title}\n\n${about}\n\n${lines.map((line) => `| ${line.join(' | ')} |`).join('\n')}\n`
}

function formatValue(value: number | string | null): string {
  if (value === null) return '–'
  if (typeof value === 'string') return value
  if (Number.isNaN(value)) return '?'
  return value >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : value >= 100
      ? value.toFixed(0)
      : String(Number(value.toPrecision(3)))
}
