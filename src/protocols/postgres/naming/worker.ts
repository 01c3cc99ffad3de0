import { parentPort } from 'node:worker_threads'
import { loadModule, parseSync, SqlError } from 'libpg-query'
import { rowQueryOf } from './row-query.ts'
import { split } from './split.ts'
import type { RowQuery } from './statement.ts'
import type { Parsed } from './summary.ts'
import { Unnameable } from './unnameable.ts'

/*
 * The thread that parses. It answers each question with its number; on anything but a statement's own fault it says
 * that it is broken, and is replaced: after a stack overflow the parser fails for good.
 */

export interface Question {
  readonly id: number
  readonly sql: string
  /** What the statements of a message do, or how the rows that one statement changes are asked for. */
  readonly wants: Wants
}

export type Wants = 'names' | 'rows'

/** What a thread says of a text. */
export type Reading = Parsed | { readonly rowQuery: RowQuery | null }

export type Answer = { readonly ready: true } | { readonly id: number; readonly parsed: Reading | 'broken' }

function answer({ sql, wants }: Question): Reading | 'broken' {
  try {
    return wants === 'rows' ? { rowQuery: rowQueryOf(sql) } : { pieces: split(sql, parseSync(sql)) }
  } catch (error) {
    if (error instanceof SqlError) return faultIn(error)
    if (error instanceof Unnameable) {
      const { code, message, hint } = error
      return { refused: true, code, message, ...(hint === undefined ? {} : { hint }) }
    }
    return 'broken'
  }
}

/** As the server says it: it is the server's own parser, whose place in the text is counted from 0 here. */
function faultIn({ message, sqlDetails }: SqlError): Parsed {
  const position = (sqlDetails?.cursorPosition ?? 0) + 1
  return { refused: true, code: '42601', message: message.slice(0, 300), position }
}

const port = parentPort
if (port) {
  await loadModule()
  port.on('message', (question: Question) =>
    port.postMessage({ id: question.id, parsed: answer(question) } satisfies Answer),
  )
  port.postMessage({ ready: true } satisfies Answer)
}
