import type { Duplex } from 'node:stream'
import { parseSync } from 'libpg-query'
import { type Backend, encodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'

/** What the server holds against whoever is in front of it. */
export interface Watch {
  /** Texts of statements that were let through. */
  readonly allowed: ReadonlySet<string>
  /** Texts that the gateway asks in its own name; noted here, however often. */
  readonly own: Map<string, number>
  /** Told of everything that should not have come. */
  wrong(what: string): void
  /** Told of each message, by its letter. */
  came(letter: string, bytes: number): void
}

interface Statement {
  readonly sql: string
  readonly isOwn: boolean
  /** Of a portal: its values, as they lie in the message. */
  readonly values?: Buffer
}

/** Messages with fields: how many texts each has in front. */
const TEXTS: Readonly<Record<string, number>> = { Q: 1, P: 2, B: 2, D: 1, C: 1, E: 1 }
const OWN = '_countersign'
const SCHEMAS = '["pg_catalog", "public"]'
const INT4 = 23

/**
 * A server of its own reading: it shares no line with the gateway's, but for what it answers with. It is as strict as
 * the real one about messages, names and the order of things, and stricter about what a gateway has no reason to send.
 */
export function serveStrictly(stream: Duplex, watch: Watch): void {
  let bytes: Buffer = Buffer.alloc(0)
  const statements = new Map<string, Statement>()
  const portals = new Map<string, Statement>()
  // By SQL: PREPARE and DECLARE.
  const prepared = new Map<string, string>()
  const cursors = new Map<string, string>()
  let status: 'I' | 'T' | 'E' = 'I'
  let isSkipping = false
  let copying: { readonly isQuery: boolean; readonly rest: readonly string[]; isFailed: boolean } | null = null
  let isPastCopy = false
  let isOver = false
  let isDead = false

  const say = (message: Backend) => {
    if (!stream.writableEnded && !stream.destroyed) stream.write(encodeBackend(message))
  }
  const ready = () => say({ type: 'ready', status })
  const error = (code: string) => {
    say({ type: 'error', report: { S: 'ERROR', V: 'ERROR', C: code, M: 'no' } })
    if (status === 'T') status = 'E'
  }

  stream.on('data', (chunk: Buffer) => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    while (bytes.length >= 5) {
      const length = bytes.readInt32BE(1)
      if (length < 4) fail(`a length of ${length}`)
      if (bytes.length < length + 1) break
      const letter = String.fromCharCode(bytes[0] ?? 0)
      const body = bytes.subarray(5, length + 1)
      bytes = bytes.subarray(length + 1)
      watch.came(letter, length + 1)
      if (isOver) fail('something behind the goodbye')
      else if (!isDead) take(letter, body)
    }
  })
  stream.on('end', () => {
    // A client may leave amid its copy; anything else is whole.
    if (bytes.length > 0 && !(bytes[0] === 0x64 && (copying || isPastCopy))) fail('a part of a message')
    stream.end()
  })
  stream.on('error', () => {})

  function fail(what: string): void {
    watch.wrong(what)
    bytes = Buffer.alloc(0)
  }

  /** Anything else amid a copy ends the session: what follows cannot be told apart any more. */
  function die(): void {
    isDead = true
    say({ type: 'error', report: { S: 'FATAL', V: 'FATAL', C: '08P01', M: 'lost synchronization' } })
    stream.end()
  }

  function take(letter: string, body: Buffer): void {
    if ('dcf'.includes(letter)) takeCopy(letter, body)
    else if ('XSH'.includes(letter)) takeShort(letter, body)
    else if (copying) die()
    else takeLong(letter, body)
  }

  function takeShort(letter: string, body: Buffer): void {
    if (body.length > 0) fail(`a ${letter} with something in it`)
    if (letter === 'X') isOver = true
    // A server drops it while it waits for data.
    if (letter !== 'S' || copying) return
    isSkipping = false
    isPastCopy = false
    if (status === 'I') portals.clear()
    ready()
  }

  function takeLong(letter: string, body: Buffer): void {
    const texts = read(letter, body)
    if (texts === null) {
      fail(`a ${letter} that cannot be read`)
      return
    }
    const [first = '', second = '', third = ''] = texts
    if (letter === 'Q') checkJudged(first)
    if (letter === 'P') checkParsed(first, second)
    if (isSkipping) return
    if (letter === 'Q') runQuery(first)
    else isSkipping = !answer(letter, first, { second, third })
  }

  /** The texts of a message in their order, and the rest of a Bind; null if it is no message. */
  function read(letter: string, body: Buffer): string[] | null {
    let left = TEXTS[letter] ?? 0
    const texts: string[] = []
    let at = 0
    if (left === 0) return null
    if ((letter === 'D' || letter === 'C') && !'SP'.includes(String.fromCharCode(body[at++] ?? 0))) return null
    for (; left > 0; left--) {
      const end = body.indexOf(0, at)
      if (end === -1) return null
      const text = body.toString('utf8', at, end)
      if (Buffer.compare(Buffer.from(text), body.subarray(at, end)) !== 0) return null
      texts.push(text)
      at = end + 1
    }
    const rest = body.subarray(at)
    switch (letter) {
      case 'E':
        return rest.length === 4 && rest.readInt32BE() >= 0 ? texts : null
      case 'P':
        return rest.length >= 2 && rest.length === 2 + 4 * rest.readUInt16BE() ? texts : null
      case 'B':
        return isBound(rest) ? [...texts, rest.toString('latin1')] : null
      default:
        return rest.length === 0 ? texts : null
    }
  }

  function isBound(rest: Buffer): boolean {
    let at = 0
    const number = (size: 2 | 4) => {
      if (at + size > rest.length) throw new RangeError('short')
      const value = size === 2 ? rest.readUInt16BE(at) : rest.readInt32BE(at)
      at += size
      return value
    }
    try {
      const formats = number(2)
      for (let left = formats; left > 0; left--) if (number(2) > 1) return false
      const values = number(2)
      for (let left = values; left > 0; left--) {
        const length = number(4)
        if (length < -1) return false
        if (length > 0) at += length
      }
      for (let left = number(2); left > 0; left--) if (number(2) > 1) return false
      return at === rest.length && (formats < 2 || formats === values)
    } catch {
      return false
    }
  }

  function takeCopy(letter: string, body: Buffer): void {
    if (!copying) {
      // The rest of one that failed was under way already.
      if (!isPastCopy) fail(`${letter} without a copy`)
      return
    }
    if (letter === 'd') {
      if (!body.includes('broken') || copying.isFailed) return
      copying.isFailed = true
      endCopy('22P02')
    } else endCopy(letter === 'c' ? null : '57014')
  }

  function endCopy(code: string | null): void {
    const { isQuery, rest } = copying ?? { isQuery: true, rest: [] }
    copying = null
    isPastCopy = true
    if (code === null) {
      say({ type: 'command_complete', tag: 'COPY 1' })
      if (isQuery) runAll(rest)
      return
    }
    error(code)
    if (isQuery) ready()
    else isSkipping = true
  }

  function answer(letter: string, first: string, { second, third }: { second: string; third: string }): boolean {
    switch (letter) {
      case 'P':
        return parse(first, second)
      case 'B':
        return bind(first, { name: second, values: Buffer.from(third, 'latin1') })
      case 'C':
        // Which of both it is does not matter here: names are not shared in what is played.
        statements.delete(first)
        portals.delete(first)
        say({ type: 'close_complete' })
        return true
      case 'D':
        if (!statements.has(first) && !portals.has(first)) return refuse('26000')
        if (!portals.has(first) || statements.has(first)) say({ type: 'parameter_description', types: [] })
        say({ type: 'no_data' })
        return true
      default:
        return execute(first)
    }
  }

  function refuse(code: string): false {
    error(code)
    return false
  }

  function parse(name: string, sql: string): boolean {
    const isOwn = name.startsWith(OWN)
    const parsed = split(sql)
    if (parsed === null || parsed.length > 1) return refuse('42601')
    if (status === 'E' && !isOwn && !/^(?:rollback|commit|end|abort)\b/i.test(parsed[0] ?? '')) return refuse('25P02')
    if (name !== '' && statements.has(name) && !isOwn) return refuse('42P05')
    statements.set(name, { sql, isOwn })
    say({ type: 'parse_complete' })
    return true
  }

  function bind(portal: string, { name, values }: { name: string; values: Buffer }): boolean {
    const statement = statements.get(name) ?? wrap(prepared.get(name))
    if (!statement) return refuse('26000')
    if (statement.isOwn !== portal.startsWith(OWN)) fail('a name of the gateway’s own in the hands of a client')
    portals.set(portal, { ...statement, values })
    say({ type: 'bind_complete' })
    return true
  }

  function wrap(sql: string | undefined): Statement | null {
    return sql === undefined ? null : { sql, isOwn: false }
  }

  function execute(name: string): boolean {
    const statement = portals.get(name) ?? wrap(cursors.get(name))
    if (!statement) return refuse('34000')
    if (statement.isOwn) return answerOwn(statement)
    const [sql] = split(statement.sql) ?? []
    if (sql === undefined) {
      say({ type: 'empty_query' })
      return true
    }
    return run(sql, false, [])
  }

  /** What a gateway asks: what names there are, where they are found, and how text is read. */
  function answerOwn({ sql, values = Buffer.alloc(0) }: Statement): boolean {
    const row = (...cells: string[]) => say({ type: 'data_row', values: cells.map((cell) => Buffer.from(cell)) })
    if (sql.includes('pg_catalog.pg_class')) {
      row('path', SCHEMAS, 'app')
      // As many arrays of names: schemas, relations, functions, operators, types.
      const [, , ...others] = values.toString('utf8').match(/\{[^}]*\}/g) ?? []
      for (const [index, kind] of ['function', 'operator', 'type'].entries()) {
        for (const [, name = ''] of others[index]?.matchAll(/"([^"]*)"/g) ?? []) row(kind, name, 'pg_catalog')
      }
    } else if (sql.includes('current_schemas')) row(SCHEMAS, 'app', 'UTF8', 'on')
    else if (sql.includes('pg_prepared_statements')) {
      for (const [name, { isOwn }] of statements) if (name !== '' && !isOwn) row('prepared', name, '1', 'false')
      for (const name of prepared.keys()) row('prepared', name, '1', 'true')
      for (const name of [...cursors.keys(), ...portals.keys()]) if (name !== '') row('cursor', name, '1', 'true')
    } else fail('a question of nobody’s')
    say({ type: 'command_complete', tag: 'SELECT 1' })
    return true
  }

  function runQuery(sql: string): void {
    statements.delete('')
    const parsed = split(sql)
    if (parsed === null) error('42601')
    else if (parsed.length === 0) say({ type: 'empty_query' })
    runAll(parsed ?? [])
  }

  function runAll(sqls: readonly string[]): void {
    for (const [index, sql] of sqls.entries()) {
      if (!run(sql, true, sqls.slice(index + 1))) break
      if (copying) return
    }
    if (status === 'I') portals.clear()
    ready()
  }

  /** Everything that runs passes here. */
  function run(sql: string, isQuery: boolean, rest: readonly string[]): boolean {
    const word = /^\w+/.exec(sql)?.[0].toLowerCase() ?? ''
    if (status === 'E' && !['rollback', 'commit', 'end', 'abort'].includes(word)) return refuse('25P02')
    const inner = meaning(sql)
    if (inner === null) return refuse('26000')
    if (isForbidden(inner)) fail(`what is forbidden ran: ${inner.slice(0, 80)}`)
    if (/^copy\b[^(]*\bfrom\s+stdin/i.test(sql)) {
      copying = { isQuery, rest, isFailed: false }
      say({ type: 'copy_in', format: 'text', columns: ['text'] })
      return true
    }
    if (word === 'copy') {
      say({ type: 'copy_out', format: 'text', columns: ['text'] })
      say({ type: 'copy_data', data: Buffer.from('1\n') })
      say({ type: 'copy_done' })
    } else if (word === 'select') {
      const column = {
        name: 'a',
        table: 0,
        attribute: 0,
        dataType: INT4,
        size: 4,
        modifier: -1,
        format: 'text',
      } as const
      if (isQuery) say({ type: 'row_description', columns: [column] })
      say({ type: 'data_row', values: [Buffer.from('1')] })
    }
    changeState(word, sql)
    say({ type: 'command_complete', tag: word.toUpperCase() })
    return true
  }

  /** What a statement that names another one does. */
  function meaning(sql: string): string | null {
    const name = /^(?:execute|fetch(?:\s+\w+)?(?:\s+from)?|move)\s+"?(\w+)"?/i.exec(sql)
    if (!name) return sql
    const word = name[1] ?? ''
    return prepared.get(word) ?? statements.get(word)?.sql ?? cursors.get(word) ?? portals.get(word)?.sql ?? null
  }

  function changeState(word: string, sql: string): void {
    if (word === 'begin' || word === 'start') status = 'T'
    else if (['commit', 'end', 'abort'].includes(word)) endTransaction()
    else if (word === 'rollback' && !/\bto\b/i.test(sql)) endTransaction()
    else if (word === 'rollback') status = 'T'
    const prepares = /^prepare\s+"?(\w+)"?\s+as\s+(.*)$/is.exec(sql)
    if (prepares) prepared.set(prepares[1] ?? '', prepares[2] ?? '')
    const declares = /^declare\s+"?(\w+)"?\s+cursor\s+for\s+(.*)$/is.exec(sql)
    if (declares) cursors.set(declares[1] ?? '', declares[2] ?? '')
  }

  function endTransaction(): void {
    status = 'I'
    cursors.clear()
    portals.clear()
  }

  function checkParsed(name: string, sql: string): void {
    if (name.startsWith(OWN)) watch.own.set(sql, (watch.own.get(sql) ?? 0) + 1)
    else checkJudged(sql)
  }

  /** All of a text is statements that were let through, and what stands between statements. */
  function checkJudged(sql: string): void {
    let rest = sql
    // The longest first: one may be a part of another.
    for (const text of [...watch.allowed].sort((a, b) => b.length - a.length)) rest = rest.split(text).join(';')
    if (!/^(?:[\s;]|--[^\n\r]*(?:[\n\r]|$)|\/\*.*?\*\/)*$/s.test(rest)) fail(`not judged: ${sql.slice(0, 120)}`)
  }
}

/** Whether a statement deletes or drops, wherever in it. */
function isForbidden(sql: string): boolean {
  // Most do not even have the words.
  return /delete|drop/i.test(sql) && /"(?:DeleteStmt|DropStmt)"/.test(JSON.stringify(parseSync(sql)))
}

const MOST_KEPT = 2_000
const kept = new Map<string, string[] | null>()

/** The statements of a text as a server takes it apart; null if it cannot. */
function split(sql: string): string[] | null {
  const known = kept.get(sql)
  if (known !== undefined) return known
  const statements = takeApart(sql)
  if (kept.size >= MOST_KEPT) kept.clear()
  kept.set(sql, statements)
  return statements
}

function takeApart(sql: string): string[] | null {
  if (sql.trim() === '') return []
  const bytes = Buffer.from(sql)
  try {
    const { stmts = [] } = parseSync(sql) as { stmts?: { stmt_location?: number; stmt_len?: number }[] }
    return stmts.map(({ stmt_location: start = 0, stmt_len: length }) =>
      bytes
        .toString('utf8', start, length === undefined ? bytes.length : start + length)
        .replace(/^(?:\s|--[^\n]*(?:\n|$)|\/\*.*?\*\/)+/s, '')
        .trim(),
    )
  } catch {
    return null
  }
}
