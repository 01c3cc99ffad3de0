import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import type { LogEntry } from '../../audit/entries.ts'
import { POPULATIONS, type PopulationName } from '../../audit/populations.ts'
import type { Search } from '../../audit/search.ts'
import type { Logger } from '../../platform/logger.ts'
import type { AuditDesk } from '../desk.ts'
import { type Cell, csvLine } from './csv.ts'
import type { Caller } from './guard.ts'
import { columnsOf } from './log-columns.ts'

/** Rows of one file. Whoever needs more goes on where it ends. */
const MOST_ROWS = 100_000
/** Files that are written at once. */
const MOST_AT_ONCE = 3

/** Where nothing is found for long, nothing is sent for as long; the listener lets go of other connections earlier. */
const IDLE_MS = 5 * 60_000

/** What is written, batch by batch. */
interface Source {
  readonly fileName: string
  readonly type: string
  readonly head: string
  readonly batches: AsyncIterable<readonly { readonly seq: number; readonly text: string }[]>
  /** What stands at the end of a file that does not hold all: a text about it, in the file's own form. */
  cut(after: number): string
}

interface Exporter {
  /** Null if too many are under way. */
  entries(reply: FastifyReply, caller: Caller, what: Asked & { format: 'csv' | 'jsonl' }): FastifyReply | null
  population(reply: FastifyReply, caller: Caller, what: Asked & { name: PopulationName }): FastifyReply | null
}

interface Asked {
  readonly search: Search
  /** Where a file before ended. */
  readonly after: number
}

/**
 * Writes what is asked for while it is read, so that it need not fit into memory, one at a time for a person. A file
 * that could not be written to its end is broken off, so that the browser says so.
 */
export function createExporter({ audit, log }: { audit: AuditDesk; log: Logger }): Exporter {
  const under = new Set<string>()

  function send(reply: FastifyReply, caller: Caller, source: Source): FastifyReply | null {
    const who = `${caller.person.issuer}|${caller.person.subject}`
    if (under.has(who) || under.size >= MOST_AT_ONCE) return null
    under.add(who)
    const stream = Readable.from(write(source, caller), { objectMode: false })
    stream.once('close', () => under.delete(who))
    stream.once('error', (error) => log.warn({ event: 'export_ended', err: error }, 'an export was broken off'))
    reply.raw.setTimeout(IDLE_MS)
    reply.header('content-disposition', `attachment; filename="${source.fileName}"`)
    return reply.type(source.type).send(stream)
  }

  return {
    entries(reply, caller, { search, after, format }) {
      const isCsv = format === 'csv'
      return send(reply, caller, {
        fileName: `countersign-audit.${format}`,
        type: isCsv ? 'text/csv; charset=utf-8; header=present' : 'application/jsonl; charset=utf-8',
        head: isCsv ? csvLine(ENTRY_COLUMNS) : '',
        batches: linesOf(audit.scan(search, after), isCsv ? entryCells : entryJson),
        cut: isCsv ? cutCsv : (seq) => `${JSON.stringify({ cut_after: seq })}\n`,
      })
    },
    population(reply, caller, { search, after, name }) {
      return send(reply, caller, {
        fileName: `countersign-${name}.csv`,
        type: 'text/csv; charset=utf-8; header=present',
        head: csvLine(POPULATIONS[name].columns),
        batches: linesOf(audit.population(name, search, after), rowCells),
        cut: cutCsv,
      })
    },
  }
}

async function* write({ head, batches, cut }: Source, caller: Caller): AsyncGenerator<string> {
  if (head !== '') yield head
  let rows = 0
  for await (const batch of batches) {
    if (!(await caller.isStillIn())) throw new Error('the session has ended')
    const kept = batch.slice(0, MOST_ROWS - rows)
    rows += kept.length
    yield kept.map(({ text }) => text).join('')
    if (rows < MOST_ROWS) continue
    yield cut(kept.at(-1)?.seq ?? 0)
    return
  }
}

async function* linesOf<Row>(
  batches: AsyncIterable<readonly Row[]>,
  write: (row: Row) => { readonly seq: number; readonly text: string },
): Source['batches'] {
  for await (const batch of batches) yield batch.map(write)
}

const ENTRY_COLUMNS = [
  ...['seq', 'at', 'kind', 'call_id', 'approval_id', 'issuer', 'subject', 'on_behalf_of', 'owner', 'model', 'upstream'],
  ...['verb', 'resource', 'effect', 'rule', 'policy_version', 'reviewer', 'reviewer_group', 'outcome'],
  ...['leaf_hash', 'prev_hash', 'hash', 'body'],
] as const

function entryCells(entry: LogEntry) {
  const cells = columnsOf(entry).map(([, value]) => value)
  return { seq: entry.seq, text: csvLine([...cells, entry.body.toString('utf8')]) }
}

function entryJson(entry: LogEntry) {
  const { body } = entry
  const text = body.toString('utf8')
  const isText = Buffer.from(text, 'utf8').equals(body)
  const row = {
    ...Object.fromEntries(columnsOf(entry)),
    ...(isText ? { body: text } : { body_base64: body.toString('base64') }),
  }
  return { seq: entry.seq, text: `${JSON.stringify(row)}\n` }
}

function rowCells(cells: readonly Cell[]) {
  const [seq] = cells
  return { seq: typeof seq === 'number' ? seq : 0, text: csvLine(cells) }
}

function cutCsv(after: number): string {
  return csvLine([`Cut after ${MOST_ROWS} rows. Go on with after=${after}.`])
}
