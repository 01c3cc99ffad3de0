import type { Approval } from '../../domain/approval.ts'

/**
 * What a button, and the question for a reason that it may open, carry: which approval, which card of it was seen, and on
 * how many replies of the agent.
 */
export interface Pressed {
  readonly approval: string
  readonly cardHash: string
  readonly replies: number
}

const FORM = /^([0-9A-Za-z_-]{1,64}):([0-9a-f]{64})(?::([0-9]))?$/

/** At most 131 characters; Slack allows 2,000. */
export function formatButton(approval: Pick<Approval, 'id' | 'cardHash'>, replies = 0): string {
  return `${approval.id}:${approval.cardHash}${replies === 0 ? '' : `:${replies}`}`
}

export function parseButton(value: string): Pressed | null {
  const match = FORM.exec(value)
  if (match?.[1] === undefined || match[2] === undefined) return null
  return { approval: match[1], cardHash: match[2], replies: Number(match[3] ?? 0) }
}
