import { refuse } from '../../../domain/refusal.ts'
import { quoteName } from '../planning/state.ts'
import type { Answer, Question } from '../relay/question.ts'
import type { Relay } from '../relay/relay.ts'
import { SessionOver } from '../relay/session-over.ts'
import { faultOf } from '../wire/report.ts'

/** The part of a session's relay that this needs. */
export type AsideRelay = Pick<Relay, 'status' | 'isSkipping' | 'put' | 'endPart' | 'end'>

/** Shadows one of the client's with the same name, until it is released. */
const SAVEPOINT = '"_countersign"'
const LOCK_TIMEOUT_MS = 500

/**
 * Asks one thing in the session of a client and leaves no trace in it: read-only, within a time, waiting for no lock for
 * long. In an open transaction, so that its own changes count, behind a savepoint that is rolled back; else in a
 * transaction that is. `role` may be another one than the session's. Null if nothing can be asked where the session stands.
 *
 * @throws SessionOver
 */
export async function askAside(
  relay: AsideRelay,
  question: Question,
  { timeoutMs, role }: { readonly timeoutMs: number; readonly role: string | null },
): Promise<Answer | null> {
  if (relay.status === 'E' || relay.isSkipping || !(await relay.endPart())) return null
  const { status } = relay
  const before = status === 'T' ? `SAVEPOINT ${SAVEPOINT}` : BEGIN
  const after = status === 'T' ? [`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`, `RELEASE SAVEPOINT ${SAVEPOINT}`] : ['ROLLBACK']
  const setting = [before, settings(timeoutMs), ...(role === null ? [] : [`SET LOCAL ROLE ${quoteName(role)}`])]
  // In one go: what is skipped behind a refusal ends before the way back.
  const asked = relay.put([...setting.map((sql) => ({ sql })), question])
  const undone = relay.put(after.map((sql) => ({ sql })))
  const [answer, end] = await Promise.all([asked, undone])
  if (end.error || relay.status !== status) relay.end(new SessionOver('gateway', LOST.detail), faultOf(LOST))
  return answer
}

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY, NOT DEFERRABLE'
const LOST = refuse('unavailable', 'Not executed. The session did not come back from a question of the gateway.')

/** For this transaction, or up to the savepoint. */
function settings(timeoutMs: number): string {
  const all = {
    transaction_read_only: 'on',
    statement_timeout: String(Math.max(1, Math.round(timeoutMs))),
    lock_timeout: String(LOCK_TIMEOUT_MS),
  }
  return `SELECT ${Object.entries(all).map(([name, value]) => `pg_catalog.set_config('${name}', '${value}', true)`)}`
}
