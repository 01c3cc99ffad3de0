import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { GatewayError } from '../domain/error.ts'
import type { LogRow } from './rows.ts'

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

/**
 * Writes rows as one JSON object a line, from which `readExport` gives the same rows, without the query columns.
 * @returns how many were written
 */
export async function writeExport(
  rows: AsyncIterable<LogRow>,
  path: string,
  options: { readonly withPersonal: boolean; readonly signal?: AbortSignal },
): Promise<number> {
  let count = 0
  async function* lines(): AsyncGenerator<string> {
    for await (const row of rows) {
      count++
      yield `${JSON.stringify(toLine(row, options.withPersonal))}\n`
    }
  }
  const { signal } = options
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

/** Reads what `writeExport` wrote. Throws `GatewayError('config')`, naming file and line, for anything else. */
export async function* readExport(path: string): AsyncGenerator<LogRow> {
  const file = await open(path).catch((error: unknown) => {
    throw new GatewayError('config', `${path} cannot be read`, { cause: error })
  })
  let number = 0
  for await (const text of splitLines(file.createReadStream(), path)) {
    number++
    yield toRow(text, `${path}:${number}`)
  }
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
