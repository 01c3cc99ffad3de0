import type { Approval } from './approval.ts'
import type { Party, Person } from './principal.ts'

/** How many questions people may ask about one approval, one after the other. */
export const MOST_QUESTIONS = 5
/** Characters of a question, and of a reply. */
export const MOST_QUESTION = 1000
export const MOST_REPLY = 1000

/** What a reviewer asked the agent whose call waits. Times are milliseconds since the epoch. */
export interface Question {
  readonly id: string
  readonly text: string
  readonly by: Party & { readonly name: string | null }
  readonly askedAt: number
  /** What the agent says: its claim, which nobody checked. Null until it has replied; then it stays. */
  readonly reply: { readonly text: string; readonly at: number } | null
}

/** The question that waits for a reply, as its agent is told of it. */
export interface OpenQuestion {
  readonly id: string
  readonly text: string
  /** The display name of whoever asked. */
  readonly by: string
  /** RFC 3339, UTC. */
  readonly at: string
}

/** What an attempt carries: the id of the question that it replies to, and the words. */
export interface Reply {
  readonly question: string
  readonly text: string
}

export interface AskRequest {
  readonly approval: string
  readonly by: Person
  readonly text: string
  /** The surface it came through: `api`, `console`, `slack`. */
  readonly via: string
}

/** Why a question was not asked. Each is told to that person alone. */
export const ASK_FAULTS = [
  'not_found',
  'not_entitled',
  'self_approval',
  'already_decided',
  'question_open',
  'too_many_questions',
  'nothing_asked',
] as const
export type AskFault = (typeof ASK_FAULTS)[number]

export type AskResult =
  | { readonly asked: true; readonly approval: Approval; readonly question: Question }
  | { readonly asked: false; readonly fault: AskFault }

/** How many replies there are: what a vote names, so that nobody approves without having seen the last one. */
export function countReplies(questions: readonly Question[]): number {
  return questions.filter(({ reply }) => reply !== null).length
}
