import type { Approval } from '../domain/approval.ts'
import type { Exchange } from '../domain/call.ts'
import { isEntitled, mayOverride } from '../domain/entitlement.ts'
import { GatewayError } from '../domain/error.ts'
import { isInClosure, type Person } from '../domain/principal.ts'
import {
  type AskFault,
  type AskRequest,
  type AskResult,
  MOST_QUESTION,
  MOST_QUESTIONS,
  MOST_REPLY,
} from '../domain/question.ts'
import type { Tx } from '../platform/database.ts'
import { newApprovalId } from '../platform/id.ts'
import { type DelegationRow, findStandIn, readStandIns } from './delegations.ts'
import { answeredEntry, askedEntry } from './entries.ts'
import type { Ground } from './ground.ts'
import {
  type Asked,
  QUESTIONS_SCHEMA,
  type QuestionRow,
  questionField,
  type Replied,
  readQuestions,
  readRows,
  replyField,
} from './questions.ts'
import { maySee } from './read.ts'
import { type SealedField, sealAlso } from './seal.ts'
import { announce, approvalOf, type Held, isOverdue, readHeld, readNow } from './store.ts'

/**
 * Asks the agent whose call waits. Whoever may decide may ask, while the approval is pending: so many times, and one
 * question after the other. The deadline stays. Attempts of the agent that wait are answered at once, with the question.
 */
export function createAsking(ground: Ground): (request: AskRequest) => Promise<AskResult> {
  return async function ask(request) {
    const text = clean(request.text, MOST_QUESTION)
    if (text === '') return { asked: false, fault: 'nothing_asked' }
    return ground.database.transaction(async (tx) => {
      if (!(await ground.hasSchema(tx, QUESTIONS_SCHEMA))) {
        throw new GatewayError('store', `the schema is older than ${QUESTIONS_SCHEMA}: nothing can be asked yet`)
      }
      const held = await readHeld(tx, ground.keys, { id: request.approval, lock: true })
      const now = await readNow(tx)
      const before = held ? await readRows(tx, held.row.id) : []
      const standIns = await readStandIns(ground, tx, request.by)
      const fault = findFault(held, { by: request.by, standIns, before, now })
      if (fault || !held) return { asked: false, fault: fault ?? 'not_found' }
      const row = { id: newApprovalId(), nth: before.length + 1 }
      const { issuer, subject, name } = request.by
      const asked: Asked = { text, by: { issuer, subject, name }, at: now.getTime() }
      await tx.query(
        'INSERT INTO question (id, approval, nth, asked_at, sealed_question) VALUES ($1, $2, $3, $4, $5)',
        [row.id, held.row.id, row.nth, now, await seal(ground, tx, { held, field: questionField(row), what: asked })],
      )
      await announce(tx, [held.row.id], 'question')
      await ground.within(tx, [askedEntry(held.row, { ...row, text, by: request.by, via: request.via })])
      const question = { id: row.id, text, by: asked.by, askedAt: asked.at, reply: null }
      return { asked: true, approval: approvalOf(held), question }
    })
  }

  function findFault(
    held: Held | null,
    {
      by,
      standIns,
      before,
      now,
    }: { by: Person; standIns: readonly DelegationRow[]; before: readonly QuestionRow[]; now: Date },
  ): AskFault | null {
    if (!held?.isGenuine || !maySee(held, { person: by, standIns, now })) return 'not_found'
    const { row } = held
    if (isInClosure(row.requester, by)) return 'self_approval'
    const moment = { openedAt: row.created_at.getTime(), at: now.getTime() }
    const mayDecide =
      row.requirements.some((requirement) => isEntitled(requirement, by, moment)) ||
      mayOverride(row.requirements, by) ||
      findStandIn(row, { person: by, standIns, votes: held.votes, now }) !== null
    if (!mayDecide) return 'not_entitled'
    if (row.state !== 'pending' || isOverdue(row, now) || ground.ended.has(row.id)) return 'already_decided'
    if (before.some(({ replied_at: repliedAt }) => repliedAt === null)) return 'question_open'
    return before.length >= MOST_QUESTIONS ? 'too_many_questions' : null
  }
}

/**
 * Keeps what an attempt replies to the question that is open: to that one, by its id, and once. So an agent cannot go on
 * changing what reviewers are shown, and a header that a client repeats replies to nothing else. Anything else it carries
 * is let go of.
 */
export async function takeReply(ground: Ground, call: Exchange, { id, state }: Approval): Promise<void> {
  const { database } = ground
  const text = clean(call.reply?.text ?? '', MOST_REPLY)
  if (!call.reply || text === '' || state !== 'pending') return
  if (!(await ground.hasSchema(database, QUESTIONS_SCHEMA))) return
  const { question } = call.reply
  const { rows } = await database.query('SELECT FROM question WHERE id = $1 AND approval = $2 AND replied_at IS NULL', [
    question,
    id,
  ])
  if (rows.length === 0) return
  await database.transaction(async (tx) => {
    const held = await readHeld(tx, ground.keys, { id, lock: true })
    if (!held?.isGenuine || held.row.state !== 'pending') return
    const questions = await readQuestions(ground, tx, held.row)
    if (!questions.some((one) => one.id === question && one.reply === null)) return
    const open = (await readRows(tx, id)).find((one) => one.id === question && one.replied_at === null)
    if (!open) return
    const at = await readNow(tx)
    const replied: Replied = { text, at: at.getTime() }
    await tx.query('UPDATE question SET replied_at = $2, sealed_reply = $3 WHERE id = $1', [
      question,
      at,
      await seal(ground, tx, { held, field: replyField(open), what: replied }),
    ])
    await announce(tx, [id], 'question')
    await ground.within(tx, [answeredEntry(held.row, { id: question, nth: open.nth, text, callId: call.id })])
  })
}

async function seal(
  { keys }: Pick<Ground, 'keys'>,
  tx: Tx,
  { held, field, what }: { held: Held; field: SealedField; what: Asked | Replied },
): Promise<Buffer> {
  const { rows } = await tx.query<{ wrapped: Buffer | null }>(
    'SELECT wrapped_key AS wrapped FROM approval WHERE id = $1',
    [held.row.id],
  )
  const wrapped = rows[0]?.wrapped
  // A key is erased only after the end of its approval.
  if (!wrapped) throw new GatewayError('internal', 'an approval that waits has no key')
  return sealAlso(
    keys.payload,
    { ...held.row, wrapped },
    { field, plaintext: Buffer.from(JSON.stringify(what), 'utf8') },
  )
}

/** Bounded, and without what Postgres or an entry cannot hold. Line feeds and tabs stay. */
function clean(text: string, most: number): string {
  const plain = text
    .toWellFormed()
    .replace(/(?![\t\n])\p{Cc}/gu, '')
    .trim()
  return [...plain].slice(0, most).join('').trim()
}
