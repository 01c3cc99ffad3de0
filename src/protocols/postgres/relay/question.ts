import type { Report } from '../wire/backend.ts'
import { encodeFrontend, type Format } from '../wire/frontend.ts'
import type { Slot } from './slots.ts'

/** Something of the gateway's own, to be asked in the session of a client. */
export interface Question {
  readonly sql: string
  readonly values?: readonly (Buffer | null)[]
  /** Type OIDs; 0, or none, where the upstream is to infer it. */
  readonly parameterTypes?: readonly number[]
  readonly formats?: readonly Format[]
}

export interface Answer {
  readonly rows: readonly (readonly (string | null)[])[]
  readonly error: Report | null
}

/** A name of the gateway's own; clients cannot have it. */
export const OWN_NAME = '_countersign'
/** No statement: whoever reads the server's log learns why it failed. */
const FAILS = 'countersign_refused_a_statement_of_this_transaction'

/** Messages, and what answers them. */
interface Encoded {
  readonly messages: readonly Buffer[]
  readonly slots: readonly Slot[]
}

const SILENT = { isSilent: true } as const

/**
 * Questions one behind the other, which leave nothing behind.
 *
 * @param end what asks for the answers: a `sync` ends a transaction block that the server has made of messages
 */
export function encodeQuestions(
  questions: readonly Question[],
  end: 'flush' | 'sync',
): Encoded & { readonly rows: Answer['rows'] } {
  // One that failed while it ran has left its portal and its statement behind.
  const closing = (['portal', 'statement'] as const).map((what) =>
    encodeFrontend({ type: 'close', what, name: OWN_NAME }),
  )
  const closed: Slot[] = closing.map(() => ({ kind: 'close', ...SILENT }))
  const messages: Buffer[] = []
  const slots: Slot[] = []
  let rows: (string | null)[][] = []
  for (const { sql, values = [], parameterTypes = [], formats = [] } of questions) {
    const found: (string | null)[][] = []
    rows = found
    const row = (cells: readonly (Buffer | null)[]) => found.push(cells.map((cell) => cell?.toString('utf8') ?? null))
    messages.push(
      ...closing,
      encodeFrontend({ type: 'parse', statement: OWN_NAME, sql, parameterTypes }),
      encodeFrontend({ type: 'bind', portal: OWN_NAME, statement: OWN_NAME, formats, values, resultFormats: [] }),
      encodeFrontend({ type: 'execute', portal: OWN_NAME, maxRows: 0 }),
    )
    slots.push(
      ...closed,
      { kind: 'parse', ...SILENT },
      { kind: 'bind', ...SILENT },
      { kind: 'execute', ...SILENT, row },
    )
  }
  messages.push(...closing, encodeFrontend({ type: end }))
  slots.push(...closed, ...(end === 'sync' ? [SYNC] : []))
  return { messages, slots, rows }
}

/** What makes a transaction fail. */
export function encodeFailure(): Encoded {
  const parse = encodeFrontend({ type: 'parse', statement: OWN_NAME, sql: FAILS, parameterTypes: [] })
  const { messages, slots } = encodeSync()
  return { messages: [parse, ...messages], slots: [{ kind: 'parse', ...SILENT }, ...slots] }
}

/** What ends a part of the extended protocol without a word to the client. */
export function encodeSync(): Encoded {
  return { messages: [encodeFrontend({ type: 'sync' })], slots: [SYNC] }
}

const SYNC: Slot = { kind: 'sync', ...SILENT }
