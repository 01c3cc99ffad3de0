import { type Refusal, refuse } from '../../../domain/refusal.ts'
import { createFrames } from '../../../transports/tcp/frames.ts'
import type { RelayClient } from '../relay/relay.ts'
import { type Backend, type Column, decodeBackend, type Report } from '../wire/backend.ts'
import { Malformed } from '../wire/fields.ts'
import { wholeFraming } from '../wire/framing.ts'
import { jsonOf } from './types.ts'

/** What comes back from the upstream, made JSON as it comes. */
export interface Answer {
  /** Stands where the connection of an agent would. */
  readonly client: RelayClient
  /** The upstream's, if that is how it ended. */
  readonly error: Report | null
  /** Of each column. */
  readonly types: readonly number[]
  encode(typeNames: ReadonlyMap<number, string>): string
}

export function createAnswer({
  maxBytes,
  take,
  onExcess,
}: {
  /** Of the rows as JSON, and of any one message. */
  readonly maxBytes: number
  /** Takes room in memory for so many bytes; false if there is none. */
  take(bytes: number): boolean
  /** Told once, when there is more than may be kept. Nothing is taken any more. */
  onExcess(why: Refusal): void
}): Answer {
  const frames = createFrames(wholeFraming(maxBytes))
  const notices: Report[] = []
  let columns: readonly Column[] = []
  let keys: readonly string[] = []
  let rows: string[] = []
  let bytes = 0
  let tag = ''
  let error: Report | null = null
  let isOver = false

  function exceed(why: Refusal): void {
    isOver = true
    rows = []
    onExcess(why)
  }

  function write(chunk: Uint8Array): void {
    if (!isOver && !take(chunk.length)) exceed(NO_ROOM)
    if (isOver) return
    const before = bytes
    frames.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    for (let frame = frames.next(); frame !== null && !isOver; frame = frames.next()) {
      if (frame.kind === 'message') takeMessage(decodeBackend(frame.bytes))
      else exceed(tooLarge(maxBytes))
      if (!isOver && bytes > maxBytes) exceed(tooLarge(maxBytes))
    }
    if (!isOver && !take(bytes - before)) exceed(NO_ROOM)
  }

  /** What else is said tells that it goes on as it should, which whoever forwards has seen to. */
  function takeMessage(message: Backend): void {
    if (message.type === 'row_description') {
      columns = message.columns
      keys = keysOf(columns).map((key) => JSON.stringify(key))
    } else if (message.type === 'data_row') keep(rowOf(message.values))
    else if (message.type === 'command_complete') tag = message.tag
    else if (message.type === 'error') error ??= message.report
    else if (message.type === 'notice') {
      notices.push(message.report)
      bytes += JSON.stringify(message.report).length
    }
  }

  function keep(row: string): void {
    rows.push(row)
    bytes += Buffer.byteLength(row) + 1
  }

  function rowOf(values: readonly (Buffer | null)[]): string {
    if (values.length !== columns.length) throw new Malformed('a row has other columns than were described')
    const fields = columns.map(({ dataType }, index) => {
      const value = values[index] ?? null
      return `${keys[index]}:${value === null ? 'null' : jsonOf(value.toString('utf8'), dataType)}`
    })
    return `{${fields.join(',')}}`
  }

  return {
    client: {
      write,
      reframe() {},
      take: () => null,
      // Nobody is there who could send data of a copy.
      next: () => Promise.resolve(null),
      isInside: false,
      isFull: false,
      room: () => Promise.resolve(true),
      end(last) {
        if (last) write(last)
        isOver = true
      },
      destroy() {
        isOver = true
      },
      closed: NEVER,
    },
    get error() {
      return error
    },
    get types() {
      return columns.map(({ dataType }) => dataType)
    },
    encode(typeNames) {
      const named = columns.map(({ dataType }, index) => {
        return `{"name":${keys[index]},"type":${JSON.stringify(typeNames.get(dataType) ?? String(dataType))}}`
      })
      const { command, rowCount } = readTag(tag)
      const told = notices.length === 0 ? '' : `,"notices":${JSON.stringify(notices.map(describeReport))}`
      const end = `"rowCount":${rowCount},"command":${JSON.stringify(command)}${told}`
      return `{"columns":[${named.join(',')}],"rows":[${rows.join(',')}],${end}}\n`
    },
  }
}

const NEVER = new AbortController().signal

const NO_ROOM = refuse('rate_limited', 'Not executed. This agent has more under way than there is room for.', {
  retryAfterS: 2,
})

function tooLarge(maxBytes: number): Refusal {
  return refuse(
    'too_large',
    `Not executed. Its answer is larger than ${maxBytes} bytes: ask for fewer rows with LIMIT, or use a driver.`,
  )
}

/** The names of the columns, each of them once: what is called the same gets a number. */
function keysOf(columns: readonly Column[]): readonly string[] {
  const taken = new Set(columns.map(({ name }) => name))
  const seen = new Set<string>()
  return columns.map(({ name }) => {
    let key = name
    for (let nth = 2; seen.has(key) || (key !== name && taken.has(key)); nth++) key = `${name}_${nth}`
    seen.add(key)
    return key
  })
}

/** Of a command tag (PostgreSQL, 54.7, "CommandComplete"): `DELETE 5`, `INSERT 0 5`, `CREATE TABLE`. */
function readTag(tag: string): { command: string; rowCount: number | null } {
  const [, command = tag, rows] = /^(.*?)(?: 0)? ([0-9]+)$/.exec(tag) ?? []
  return { command, rowCount: rows === undefined ? null : Number(rows) }
}

/** Fields of a report (PostgreSQL, 54.8) that are told, and their names. Where it is in the server's source is not. */
const FIELDS: readonly (readonly [letter: string, name: string])[] = [
  ['V', 'severity'],
  ['C', 'code'],
  ['M', 'message'],
  ['D', 'detail'],
  ['H', 'hint'],
  ['P', 'position'],
  ['W', 'where'],
  ['s', 'schema'],
  ['t', 'table'],
  ['c', 'column'],
  ['d', 'type'],
  ['n', 'constraint'],
]

/** A report of the upstream's as an object. */
export function describeReport(report: Report): Readonly<Record<string, string | number>> {
  return Object.fromEntries(
    FIELDS.flatMap(([letter, name]) => {
      const value = report[letter]
      return value === undefined ? [] : [[name, letter === 'P' ? Number(value) : value] as const]
    }),
  )
}
