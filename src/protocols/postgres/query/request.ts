import { z } from 'zod'
import type { Stored } from '../../../domain/call.ts'
import { type Refusal, refuse } from '../../../domain/refusal.ts'
import { parseStrictJson } from '../../../domain/strict-json.ts'
import type { Batch, Sent } from '../planning/batch.ts'
import { encodeFrontend, type Frontend } from '../wire/frontend.ts'

/** One statement with its parameters. */
export interface Query {
  readonly sql: string
  /** As text, which the server reads as what each stands for; null for NULL. */
  readonly params: readonly (string | null)[]
  readonly database: string
}

/** As many as a Bind message can hold. */
const MAX_PARAMS = 65_535

const bodySchema = z.strictObject({
  sql: z.string({ error: 'sql must be a text' }),
  params: z
    .array(
      z.union([z.null(), z.boolean(), z.number(), z.string()], {
        error:
          "each of params must be null, true, false, a number or a text; send an array as '{1,2}', JSON as its text",
      }),
      { error: 'params must be a list' },
    )
    .max(MAX_PARAMS, `params must be at most ${MAX_PARAMS}`)
    .default([]),
  database: z.string({ error: 'database must be a text' }).min(1, 'database must not be empty').optional(),
})

/**
 * Reads the body of a request.
 *
 * @param onlyDatabase the one that may be asked for; null: the body has to say
 */
export function readQuery(body: Uint8Array, onlyDatabase: string | null): Query | Refusal {
  const parsed = parseStrictJson(body)
  if ('fault' in parsed) return malformed(`Two servers could read this call differently: ${parsed.fault}.`)
  const read = bodySchema.safeParse(parsed.value)
  if (!read.success) return malformed(`${explain(read.error)}.`)
  const { sql, params, database = onlyDatabase } = read.data
  if (database === null)
    return malformed('The body has to say which database: {"sql": …, "params": […], "database": …}.')
  return { sql, params: params.map((param) => (param === null ? null : String(param))), database }
}

function malformed(why: string): Refusal {
  return refuse('malformed', `Not executed. ${why}`)
}

function explain({ issues: [issue] }: z.ZodError): string {
  if (issue?.code === 'unrecognized_keys') {
    return `The body has the keys sql, params and database, and no ${issue.keys.map((key) => JSON.stringify(key)).join(', ')}`
  }
  return issue === undefined || issue.path.length === 0
    ? 'The body has to be a JSON object like {"sql": "SELECT $1::int", "params": [1]}'
    : `In the body, ${issue.message}`
}

const storedSchema = z.strictObject({
  sql: z.string(),
  params: z.array(z.string().nullable()),
  database: z.string(),
})

/** The form in which a held one waits. */
export function storeQuery({ sql, params, database }: Query): Stored {
  return { head: { version: 1, by: 'query' }, body: Buffer.from(JSON.stringify({ sql, params, database })) }
}

/** Null if it is of another version: what was stored by a newer gateway is not guessed at. */
export function restoreQuery({ head, body }: Stored): Query | null {
  if (head['version'] !== 1 || head['by'] !== 'query') return null
  return storedSchema.parse(JSON.parse(Buffer.from(body).toString('utf8')))
}

/** As a driver sends it: the extended protocol takes one statement, and no more. */
export function batchOf({ sql, params }: Query): Batch {
  const messages: readonly Frontend[] = [
    { type: 'parse', statement: '', sql, parameterTypes: [] },
    {
      type: 'bind',
      portal: '',
      statement: '',
      formats: [],
      values: params.map((param) => (param === null ? null : Buffer.from(param))),
      resultFormats: [],
    },
    { type: 'describe', what: 'portal', name: '' },
    { type: 'execute', portal: '', maxRows: 0 },
    { type: 'sync' },
  ]
  return { kind: 'sync', sent: messages.map((message): Sent => ({ message, bytes: encodeFrontend(message) })) }
}
