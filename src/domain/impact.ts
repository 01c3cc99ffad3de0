/** How many more than were counted may be touched: in percent of the count, or so many. */
export type Tolerance = { readonly percent: number } | { readonly rows: number }

/** What rules say of the rows that a call touches. */
export interface ImpactTerms {
  /** How many of them reviewers may be shown; 0: none. */
  readonly sample: number
  /** Each one holds; none left out. Without any, no more than were counted may be touched. */
  readonly tolerances: readonly Tolerance[]
}

export const NO_IMPACT_TERMS: ImpactTerms = { sample: 0, tolerances: [] }

/** Reads `10%` or `20 rows`; null for anything else. */
export function parseTolerance(text: string): Tolerance | null {
  const [, percent, rows] = /^(?:(0|[1-9][0-9]{0,2})%|(0|[1-9][0-9]{0,8}) rows)$/.exec(text) ?? []
  if (percent !== undefined) return { percent: Number(percent) }
  return rows === undefined ? null : { rows: Number(rows) }
}

/** The most rows that may be touched where so many were counted. */
export function mostRows(counted: number, tolerances: readonly Tolerance[]): number {
  if (tolerances.length === 0) return counted
  const most = tolerances.map((one) =>
    'rows' in one ? counted + one.rows : counted + Math.floor((counted * one.percent) / 100),
  )
  return Math.min(...most)
}
