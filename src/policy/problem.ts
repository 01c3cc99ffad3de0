/** What is wrong with a policy, and where. All problems are told at once, each on one line. */
export interface Problem {
  readonly file: string
  /** Counted from 1; 0 where the place is not known (a set that came from the store has no lines). */
  readonly line: number
  readonly message: string
}

export function formatProblem({ file, line, message }: Problem): string {
  return `${file}${line > 0 ? `:${line}` : ''}: ${message}`
}

export function isProblems(value: unknown): value is readonly Problem[] {
  return Array.isArray(value)
}
