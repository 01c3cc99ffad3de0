import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { GatewayError } from '../domain/error.ts'
import { type HeadFile, headFile } from './head.ts'
import type { LogRow } from './rows.ts'
import type { Head } from './store.ts'

// An entry's body is at most some 30 KB; the first one of a page carries the values of a thousand.
const MAX_LINE_BYTES = 64 * 1024 * 1024
const LINE_FEED = 0x0a
const HEX_SHA256 = /^[0-9a-f]{64}$/

const line = z.strictObject({
  seq: z.int().min(1),
  hash: z.string().regex(HEX_SHA256),
  /** The canonical bytes, which are UTF-8; `body_base64` if damage made them something else. */
  body: z.string().optional(),
  body_base64: z.base64().optional(),
  personal: z
    .array(z.strictObject({ commitment: z.base64(), field: z.string(), salt: z.base64(), value: z.string() }))
    .optional(),
})

/** The first line: so that who reads the file knows where it ends, and can tell an export from a part of one. */
const header = z.strictObject({
  countersign_export: z.literal(1),
  end: z.strictObject({ seq: z.int().min(0), hash: z.string().regex(HEX_SHA256) }),
  head: headFile.nullable(),
})

/** What an export says of itself. Nothing in it is proven: the head, if its signature is checked, proves what it states. */
export interface Statement {
  /** The last entry of the log when the export began; it holds all up to there. */
  readonly end: Head
  /** What the gateway had signed by then; null if there was nothing. */
  readonly head: HeadFile | null
}

/**
 * Writes rows as one JSON object a line, from which `readExport` gives the same rows, without the query columns. Before
 * them stands what `readStatement` gives; rows after the stated end are left out.
 * @returns how many were written
 */
export async function writeExport(
  rows: AsyncIterable<LogRow>,
  path: string,
  options: Statement & { readonly withPersonal: boolean; readonly signal?: AbortSignal },
): Promise<number> {
  const { end, head, withPersonal, signal } = options
  let count = 0
  async function* lines(): AsyncGenerator<string> {
    const first: z.infer<typeof header> = {
      countersign_export: 1,
      end: { seq: end.seq, hash: Buffer.from(end.hash).toString('hex') },
      head,
    }
    yield `${JSON.stringify(first)}\n`
    for await (const row of rows) {
      if (row.seq > end.seq) break
      count++
      yield `${JSON.stringify(toLine(row, withPersonal))}\n`
    }
  }
  await pipeline(Readable.from(lines()), createWriteStream(path, { mode: 0o600 }), signal ? { signal } : {})
  return count
}

function toLine({ seq, hash, body, personal = [] }: LogRow, withPersonal: boolean): z.infer<typeof line> {
  const bytes = Buffer.from(body)
  const text = bytes.toString('utf8')
  return {
    seq,
    hash: Buffer.from(hash).toString('hex'),
    ...(Buffer.from(text, 'utf8').equals(bytes) ? { body: text } : { body_base64: bytes.toString('base64') }),
    ...(withPersonal &&
      personal.length > 0 && {
        personal: personal.map(({ commitment, field, salt, value }) => ({
          commitment: Buffer.from(commitment).toString('base64'),
          field,
          salt: Buffer.from(salt).toString('base64'),
          value,
        })),
      }),
  }
}

/** What an export says of itself; null if it does not, as those of earlier releases. Throws as `readExport` does. */
export async function readStatement(path: string): Promise<Statement | null> {
  for await (const text of readLines(path)) return toStatement(text)
  return null
}

/** Reads what `writeExport` wrote. Throws `GatewayError('config')`, naming file and line, for anything else. */
export async function* readExport(path: string): AsyncGenerator<LogRow> {
  let number = 0
  for await (const text of readLines(path)) {
    number++
    if (number === 1 && toStatement(text)) continue
    yield toRow(text, `${path}:${number}`)
  }
}

async function* readLines(path: string): AsyncGenerator<string> {
  const file = await open(path).catch((error: unknown) => {
    throw new GatewayError('config', `${path} cannot be read`, { cause: error })
  })
  yield* splitLines(file.createReadStream(), path)
}

function toStatement(text: string): Statement | null {
  const { data } = header.safeParse(parseJson(text))
  return data ? { end: { seq: data.end.seq, hash: Buffer.from(data.end.hash, 'hex') }, head: data.head } : null
}

/** Splits at line feeds and nowhere else: a body may hold U+2028, at which node:readline splits too. */
async function* splitLines(chunks: AsyncIterable<Buffer>, path: string): AsyncGenerator<string> {
  let rest = Buffer.alloc(0)
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, from)) {
      yield Buffer.concat([rest, chunk.subarray(from, end)]).toString('utf8')
      rest = Buffer.alloc(0)
      from = end + 1
    }
    rest = Buffer.concat([rest, chunk.subarray(from)])
    if (rest.length > MAX_LINE_BYTES) throw new GatewayError('config', `${path} has a line that is no exported entry`)
  }
  if (rest.length > 0) yield rest.toString('utf8')
}

function toRow(text: string, where: string): LogRow {
  const { data } = line.safeParse(parseJson(text))
  const body = data?.body !== undefined ? Buffer.from(data.body, 'utf8') : decode(data?.body_base64)
  if (!data || !body) throw new GatewayError('config', `${where} is no exported entry`)
  const personal = data.personal?.map(({ commitment, field, salt, value }) => ({
    commitment: Buffer.from(commitment, 'base64'),
    field,
    salt: Buffer.from(salt, 'base64'),
    value,
  }))
  return { seq: data.seq, hash: Buffer.from(data.hash, 'hex'), body, ...(personal && { personal }) }
}

function decode(base64: string | undefined): Buffer | null {
  return base64 === undefined ? null : Buffer.from(base64, 'base64')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The schema refuses it, and the caller names the line.
    return null
  }
}
