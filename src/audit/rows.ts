import type { Tx } from '../platform/database.ts'
import type { Head } from './store.ts'

/** One link of the chain as it is stored or exported: what the verifier works on. */
export interface LogRow {
  readonly seq: number
  readonly body: Uint8Array
  readonly hash: Uint8Array
  /** The query columns as text, commitments in base64; absent from an export, which has none. */
  readonly columns?: Readonly<Record<string, string | null>>
  /** The values behind commitments that this row's body is among the first to use, as far as they were not erased. */
  readonly personal?: readonly PersonalRow[]
}

export interface PersonalRow {
  readonly commitment: Uint8Array
  readonly field: string
  readonly salt: Uint8Array
  readonly value: string
}

/** Every column that repeats something of the body, as SQL that gives its text. */
const COLUMNS = {
  at: `to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
  policy_version: 'policy_version::text',
  call_id: 'call_id::text',
  kind: 'kind',
  approval_id: 'approval_id',
  issuer: 'issuer',
  subject: `encode(subject, 'base64')`,
  on_behalf_of: `encode(on_behalf_of, 'base64')`,
  owner: `encode(owner, 'base64')`,
  model: `encode(model, 'base64')`,
  upstream: 'upstream',
  verb: 'verb',
  resource: 'resource',
  effect: 'effect',
  rule: 'rule',
  reviewer: `encode(reviewer, 'base64')`,
  reviewer_group: 'reviewer_group',
  outcome: 'outcome',
} as const

const SELECT_PAGE = `SELECT seq, body, hash, ${Object.entries(COLUMNS)
  .map(([name, sql]) => `${sql} AS ${name}`)
  .join(', ')}
  FROM countersign.audit_entry WHERE seq > $1 ORDER BY seq LIMIT $2`

const SELECT_PERSONAL = `SELECT commitment, field, salt, value FROM countersign.audit_personal
  WHERE commitment = ANY (SELECT decode(given, 'base64') FROM unnest($1::text[]) AS given)`

const PAGE_ROWS = 1_000
// Values further back than this many commitments are read again when they come again: memory stays bounded.
const REMEMBERED_COMMITMENTS = 50_000
// The base64 of 32 bytes. What else looks like that is looked up in vain.
const COMMITMENT = /"([A-Za-z0-9+/]{43}=)"/g

interface PageRow extends Readonly<Record<string, unknown>> {
  readonly seq: number
  readonly body: Buffer
  readonly hash: Buffer
}

interface Page {
  readonly rows: readonly PageRow[]
  readonly personal: readonly PersonalRow[]
}

/**
 * Reads the log from the store, page by page, up to where it ends when the last page is read. Throws
 * `GatewayError('store')` if the store fails; a caller that must notice a hole looks at `seq`.
 */
export async function* readRows(tx: Tx, afterSeq = 0): AsyncGenerator<LogRow> {
  const known = new Set<string>()
  let next: Promise<Page> | null = readPage(tx, afterSeq, known)
  while (next) {
    const { rows, personal }: Page = await next
    const last = rows.at(-1)
    // The store reads the next page while this one is looked at.
    next = last && rows.length === PAGE_ROWS ? readPage(tx, last.seq, known) : null
    // It may fail after the caller has stopped asking; who goes on asking gets to know by the await above.
    next?.catch(() => undefined)
    for (const [index, row] of rows.entries()) {
      const { seq, body, hash, ...columns } = row
      // The query gives text or null in every other column.
      const texts = columns as Readonly<Record<string, string | null>>
      yield { seq, body, hash, columns: texts, ...(index === 0 && personal.length > 0 && { personal }) }
    }
  }
}

async function readPage(tx: Tx, afterSeq: number, known: Set<string>): Promise<Page> {
  const { rows } = await tx.query<PageRow>(SELECT_PAGE, [afterSeq, PAGE_ROWS])
  return { rows, personal: await readPersonal(tx, rows, known) }
}

async function readPersonal(tx: Tx, rows: readonly PageRow[], known: Set<string>): Promise<readonly PersonalRow[]> {
  const wanted = new Set<string>()
  for (const { body } of rows) {
    for (const [, commitment = ''] of body.toString('latin1').matchAll(COMMITMENT)) {
      if (!known.has(commitment)) wanted.add(commitment)
    }
  }
  if (known.size + wanted.size > REMEMBERED_COMMITMENTS) known.clear()
  for (const commitment of wanted) known.add(commitment)
  if (wanted.size === 0) return []
  const found = await tx.query<{ commitment: Buffer; field: string; salt: Buffer; value: string }>(SELECT_PERSONAL, [
    [...wanted],
  ])
  return found.rows
}

/** Where the store says that the chain ends. */
export async function readStoreHead(tx: Tx): Promise<Head> {
  const { rows } = await tx.query<{ seq: number; hash: Buffer }>('SELECT seq, hash FROM countersign.store_state(0)')
  return rows[0] ?? { seq: 0, hash: Buffer.alloc(0) }
}
