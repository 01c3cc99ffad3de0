/**
 * What "the same again" means, from narrow to wide: the very same call; any call of the verb on that resource; any call of
 * the verb. In each case only what the same rule holds.
 */
export const COVERS = ['call', 'resource', 'rule'] as const
export type Covers = (typeof COVERS)[number]

/** What a rule lets a reviewer grant. */
export interface GrantPermit {
  readonly mostMs: number
  readonly mostUses: number
  /** At most. */
  readonly covers: Covers
  /** Hex SHA-256 of the rule as it is written: a grant ends when it changes. */
  readonly ruleHash: string
  /** The resources and the condition of the rule, for people to read. */
  readonly resources?: readonly string[]
  readonly when?: string
}

/** What a reviewer asks for along with their yes. */
export interface GrantAsk {
  readonly minutes: number
  readonly uses: number
  readonly covers: Covers
}

/** Whether what was asked for is within what one rule permits. */
export function isWithinPermit({ minutes, uses, covers }: GrantAsk, permit: GrantPermit): boolean {
  return (
    minutes * 60_000 <= permit.mostMs &&
    uses <= permit.mostUses &&
    COVERS.indexOf(covers) <= COVERS.indexOf(permit.covers)
  )
}

/** The kinds of "the same again" up to the widest that is permitted. */
export function coversUpTo(widest: Covers): readonly Covers[] {
  return COVERS.slice(0, COVERS.indexOf(widest) + 1)
}
