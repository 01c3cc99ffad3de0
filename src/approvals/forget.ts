import type { Ground } from './ground.ts'

/** The first schema in which the gateway may delete these; the release before runs without. */
const SCHEMAS = { idempotency: 4, outbox: 4, conversation: 4, replica: 4, claim: 12 } as const

/** An Idempotency-Key answers for a day at least, however short cards are kept. */
const LEAST_MS = 86_400_000

const OVER = `a.state NOT IN ('pending', 'approved')
        AND coalesce(a.spent_at, a.decided_at) < statement_timestamp() - $1 * interval '1 millisecond'`

/**
 * Rows that nobody asks for any more, oldest first. What was noted too short ago cannot belong to what ended long enough
 * ago; `statement_timestamp`, unlike `clock_timestamp`, can be looked up in an index.
 */
const FORGET = {
  idempotency: `WITH old AS MATERIALIZED (
      SELECT i.principal_key, i.upstream, i.key_hash FROM idempotency i JOIN approval a ON a.id = i.approval
      WHERE i.noted_at < statement_timestamp() - $1 * interval '1 millisecond' AND ${OVER}
      ORDER BY i.noted_at LIMIT $2 FOR UPDATE OF i SKIP LOCKED)
    DELETE FROM idempotency i USING old
    WHERE i.principal_key = old.principal_key AND i.upstream = old.upstream AND i.key_hash = old.key_hash`,
  // By then the card is erased: what is still owed could not be sent any more.
  outbox: `WITH old AS MATERIALIZED (
      SELECT o.approval, o.channel, o.kind FROM outbox o JOIN approval a ON a.id = o.approval
      WHERE o.created_at < statement_timestamp() - $1 * interval '1 millisecond' AND ${OVER}
      ORDER BY o.created_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED)
    DELETE FROM outbox o USING old WHERE o.approval = old.approval AND o.channel = old.channel AND o.kind = old.kind`,
  // The next card of an agent's conversation begins a new thread.
  conversation: `WITH old AS MATERIALIZED (
      SELECT c.channel, c.key FROM conversation c
      WHERE c.begun_at < statement_timestamp() - $1 * interval '1 millisecond'
        AND NOT EXISTS (SELECT FROM outbox o WHERE o.conversation = c.key AND o.channel = c.channel)
      ORDER BY c.begun_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    DELETE FROM conversation c USING old WHERE c.channel = old.channel AND c.key = old.key`,
  // What it owed is written.
  replica: `WITH old AS MATERIALIZED (
      SELECT id FROM replica WHERE settled_at < statement_timestamp() - $1 * interval '1 millisecond'
      ORDER BY settled_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    DELETE FROM replica r USING old WHERE r.id = old.id`,
  claim: `WITH old AS MATERIALIZED (
      SELECT approval FROM claim WHERE until < statement_timestamp() - $1 * interval '1 millisecond'
      ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)
    DELETE FROM claim c USING old WHERE c.approval = old.approval`,
} as const

/** Forgets a batch of a table's rows, `most` at a time. Returns whether there may be more. */
type Forget = (table: keyof typeof FORGET, most: number) => Promise<boolean>

/** `keepMs` is how long the cards of approvals that are over are kept. */
export function createForgetting(
  { database, hasSchema }: Pick<Ground, 'database' | 'hasSchema'>,
  { keepMs }: { keepMs: number },
): Forget {
  const ageMs = Math.max(keepMs, LEAST_MS)

  return async function forget(table, most) {
    if (!(await hasSchema(database, SCHEMAS[table]))) return false
    const { rowCount } = await database.query(FORGET[table], [ageMs, most])
    return rowCount === most
  }
}
