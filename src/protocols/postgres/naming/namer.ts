import { advance } from './advance.ts'
import { readComment } from './comment.ts'
import { createParser, type Parser } from './parser.ts'
import { keepRecent } from './recent.ts'
import { named, resolve, wantedKey, wantedOf } from './resolve.ts'
import { isUnnamed, type Named, type Namer, type SessionView, type Unnamed, type Wanted } from './statement.ts'
import type { Piece, Summary } from './summary.ts'
import { Unnameable } from './unnameable.ts'

/** Bytes of SQL: the longest took a third of a second to read. */
export const MAX_BYTES = 65_536
/** Names of one message that the catalog may be asked for. */
const MAX_WANTED = 1_000

/** Names statements with the server's own parser. */
export function createNamer(parser: Parser = createParser()): Namer {
  const recent = keepRecent<readonly Statement[]>({ maxEntries: 500, maxChars: 500_000 })

  async function read(sql: string, signal?: AbortSignal): Promise<readonly Statement[] | Unnamed> {
    const known = recent.get(sql)
    if (known) return known
    const unreadable = faultOf(sql)
    if (unreadable) return unreadable
    // The parser takes an empty text for a fault.
    if (sql.trim() === '') return []
    const parsed = await parser.parse(sql, signal)
    if (!('pieces' in parsed)) return parsed
    const statements = statementsOf(sql, parsed.pieces)
    recent.set(sql, statements)
    return statements
  }

  return {
    async name(sql, session, signal) {
      const statements = unsafeSession(session) ?? unsafeText(sql, session) ?? (await read(sql, signal))
      if (isUnnamed(statements)) return statements
      try {
        return nameAll(statements, session, await ask(statements, session))
      } catch (error) {
        if (!(error instanceof Unnameable)) throw error
        return refusal(error)
      }
    },
    async prepare(sql, signal) {
      const statements = await read(sql, signal)
      if (isUnnamed(statements)) return statements
      const [statement, ...more] = statements
      if (more.length > 0) {
        return { refused: true, code: '42601', message: 'cannot insert multiple commands into a prepared statement' }
      }
      return statement ? { summary: statement.summary, text: statement.text } : null
    },
    rowQuery: (statement, signal) =>
      faultOf(statement) || statement.trim() === '' ? Promise.resolve(null) : parser.rowQuery(statement, signal),
    stop: () => parser.stop(),
  }
}

/** What the text of a statement says by itself, in whatever session. */
interface Statement extends Pick<Named, 'text' | 'location' | 'claimed'> {
  readonly summary: Summary
  /** Whether it could be read otherwise: see `dependsOnSettings`. */
  readonly isUncertain: boolean
}

function statementsOf(sql: string, pieces: readonly Piece[]): readonly Statement[] {
  const bytes = Buffer.from(sql)
  return pieces.map(({ start, bytes: length, summary }, index) => {
    const whole = bytes.toString('utf8', start, start + length)
    // A comment before the first statement or behind the last semicolon is outside of every statement.
    const from = index === 0 ? 0 : start
    const commented = bytes.toString('utf8', from, index === pieces.length - 1 ? bytes.length : start + length)
    return {
      summary,
      text: whole.trim(),
      location: { start, bytes: length },
      claimed: readComment(commented),
      isUncertain: dependsOnSettings(whole),
    }
  })
}

/** Asks the catalog once for every name of a message. */
async function ask(
  statements: readonly Statement[],
  session: SessionView,
): Promise<ReadonlyMap<string, readonly string[] | 'any'>> {
  const wanted = new Map<string, Wanted>()
  for (const { summary } of statements) for (const one of wantedOf(summary, session)) wanted.set(wantedKey(one), one)
  if (wanted.size > MAX_WANTED)
    throw new Unnameable('54001', 'Not executed. The message has too many names.', 'Split it.')
  const holders = new Map<string, readonly string[] | 'any'>()
  const { searchPath } = session
  if (searchPath === null || wanted.size === 0) return holders
  const answers = await session.catalog.holders([...wanted.values()], searchPath).catch((cause: unknown) => {
    throw Object.assign(new Unnameable('57P03', 'Not executed. The catalog of the upstream cannot be read now.'), {
      cause,
    })
  })
  const schemas = new Set(searchPath)
  for (const [index, key] of [...wanted.keys()].entries()) {
    const answer = answers[index] ?? 'any'
    // An answer about other schemas is none.
    holders.set(key, answer !== 'any' && answer.every((schema) => schemas.has(schema)) ? answer : 'any')
  }
  return holders
}

/** Each statement is named in the session that those before it may leave. */
function nameAll(
  statements: readonly Statement[],
  session: SessionView,
  holders: ReadonlyMap<string, readonly string[] | 'any'>,
): readonly Named[] {
  let view = session
  return statements.map((statement) => {
    const one = named(statement, resolve(statement.summary, { view, holders, text: statement.text }))
    if (view.searchPath === null && statement.isUncertain) throw uncertainText()
    view = advance(view, one)
    return one
  })
}

function faultOf(sql: string): Unnamed | null {
  if (Buffer.byteLength(sql) > MAX_BYTES) {
    const message = `Not executed. The gateway reads at most ${MAX_BYTES} bytes of SQL in one message.`
    return { refused: true, code: '54000', message, hint: 'Split it, or send data with COPY or parameters.' }
  }
  // The parser takes a NUL for the end; the server would not.
  if (sql.includes('\0') || !sql.isWellFormed()) {
    return { refused: true, code: '22021', message: 'Not executed. The text is not valid UTF8.' }
  }
  return null
}

/** Under other settings the server reads other statements than the parser. */
function unsafeSession(session: SessionView): Unnamed | null {
  if (!session.standardConformingStrings) {
    const message = 'Not executed. The gateway reads statements with standard_conforming_strings on only.'
    return { refused: true, code: '0A000', message }
  }
  if (session.clientEncoding.toUpperCase() !== 'UTF8') {
    return { refused: true, code: '0A000', message: 'Not executed. The gateway reads statements in UTF8 only.' }
  }
  return null
}

/**
 * A server folds and cuts names in the encoding of its database: `É` to `é` in a single-byte one, and after 63 bytes, which
 * are another number of characters there. What are two names here could be one for it, or the other way round.
 */
function unsafeText(sql: string, { serverEncoding }: SessionView): Unnamed | null {
  if (serverEncoding === 'UTF8' || !/\P{ASCII}|[uU]&"/u.test(sql)) return null
  return {
    refused: true,
    code: '0A000',
    message: 'Not executed. The encoding of this database is not UTF8: the gateway reads statements in ASCII only.',
    hint: 'Send other characters as parameters, without them in names and comments.',
  }
}

/** Whether other rules for quotes, or another encoding, would read a text otherwise. */
export function dependsOnSettings(sql: string): boolean {
  return /\\|\P{ASCII}/u.test(sql)
}

function uncertainText(): Unnameable {
  return new Unnameable(
    '0A000',
    'Not executed. It is not certain how this text is read: settings may have changed just before.',
    'Send this statement in a message of its own.',
  )
}

function refusal({ code, message, hint }: Unnameable): Unnamed {
  return { refused: true, code, message, ...(hint === undefined ? {} : { hint }) }
}
