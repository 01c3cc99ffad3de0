import { GatewayError } from '../domain/error.ts'
import { countReplies, type OpenQuestion, type Question } from '../domain/question.ts'
import type { Tx } from '../platform/database.ts'
import type { Ground } from './ground.ts'
import type { ApprovalRow } from './row.ts'
import { type SealedField, unseal } from './seal.ts'

/** The first schema that knows of questions; the release before runs without. */
export const QUESTIONS_SCHEMA = 13

/** A question as the database has it. Nothing of it is believed that cannot be opened. */
export interface QuestionRow {
  readonly id: string
  readonly nth: number
  readonly told_at: Date | null
  readonly replied_at: Date | null
  readonly sealed_question: Buffer
  readonly sealed_reply: Buffer | null
  /** The approval's data key, encrypted; null once it was erased. */
  readonly wrapped: Buffer | null
}

type Approved = Pick<ApprovalRow, 'id' | 'digest'>
type Store = Pick<Ground, 'keys' | 'hasSchema' | 'log'>

export async function readRows(tx: Tx, approval: string): Promise<readonly QuestionRow[]> {
  const { rows } = await tx.query<QuestionRow>(
    `SELECT q.id, q.nth, q.told_at, q.replied_at, q.sealed_question, q.sealed_reply, a.wrapped_key AS wrapped
     FROM question q JOIN approval a ON a.id = q.approval WHERE q.approval = $1 ORDER BY q.nth`,
    [approval],
  )
  return rows
}

/** What was asked about an approval, and replied, in order; empty once its key was erased. */
export async function readQuestions(store: Store, tx: Tx, of: Approved): Promise<readonly Question[]> {
  if (!(await store.hasSchema(tx, QUESTIONS_SCHEMA))) return []
  return (await readRows(tx, of.id)).flatMap((row) => open(store, of, row) ?? [])
}

export async function readReplyCount(store: Store, tx: Tx, of: Approved): Promise<number> {
  return countReplies(await readQuestions(store, tx, of))
}

/** The question that waits for a reply; from then on its agent has been told of it. */
export async function tellQuestion(ground: Ground, of: Approved): Promise<OpenQuestion | null> {
  const { database } = ground
  if (!(await ground.hasSchema(database, QUESTIONS_SCHEMA))) return null
  const row = (await readRows(database, of.id)).find(({ replied_at: repliedAt }) => repliedAt === null)
  const question = row && open(ground, of, row)
  if (!row || !question) return null
  if (row.told_at === null) {
    await database.query(`UPDATE question SET told_at = clock_timestamp() WHERE id = $1 AND told_at IS NULL`, [row.id])
  }
  const { id, text, by, askedAt } = question
  return { id, text, by: by.name ?? by.subject, at: new Date(askedAt).toISOString() }
}

/** A question by its place among those of its approval, so that none can be put in the place of another. */
export function questionField({ id, nth }: Pick<QuestionRow, 'id' | 'nth'>): SealedField {
  return `question:${nth}:${id}`
}

export function replyField({ id, nth }: Pick<QuestionRow, 'id' | 'nth'>): SealedField {
  return `reply:${nth}:${id}`
}

/** What `ask` seals. */
export interface Asked {
  readonly text: string
  readonly by: Question['by']
  readonly at: number
}

/** What `takeReply` seals. */
export type Replied = NonNullable<Question['reply']>

/** Null if there is no key any more, or somebody wrote or moved it. */
function open({ keys, log }: Store, of: Approved, row: QuestionRow): Question | null {
  const read = <Sealed>(field: SealedField, sealed: Buffer | null): Sealed | null => {
    try {
      const bytes = unseal(keys.payload, { ...of, wrapped: row.wrapped }, { field, sealed })
      // It was authenticated: nobody but a gateway wrote it.
      return bytes && (JSON.parse(bytes.toString('utf8')) as Sealed)
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      log.error({ err: error, approval: of.id, question: row.id }, 'a question or a reply was not made by a gateway')
      return null
    }
  }
  const asked = read<Asked>(questionField(row), row.sealed_question)
  if (!asked) return null
  const { text, by, at } = asked
  return { id: row.id, text, by, askedAt: at, reply: read<Replied>(replyField(row), row.sealed_reply) }
}
