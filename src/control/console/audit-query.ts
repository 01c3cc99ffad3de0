import { z } from 'zod'
import type { Search } from '../../audit/search.ts'

const field = z
  .string()
  .max(1000)
  .default('')
  .transform((text) => text.trim())

/** What somebody wrote into the form of the audit page, as they wrote it. */
export const auditQuery = z.object({
  from: field,
  until: field,
  agent: field,
  reviewer: field,
  upstream: field,
  verb: field,
  effect: field,
  kind: field,
  outcome: field,
  call: field,
  approval: field,
})
export type AuditQuery = z.output<typeof auditQuery>

/** Where a page or an export goes on. */
export const seqSchema = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number)

const CALL_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** What is looked for; a text says what cannot be understood. */
export function toSearch(query: AuditQuery): Search | string {
  // Postgres stores it nowhere, so that nothing has it.
  if (Object.values(query).some((text) => text.includes('\0'))) return 'nothing in the log has a NUL'
  if (query.call !== '' && !CALL_ID.test(query.call)) return 'a call is named by its id, as 01a1f933-840d-7755-add4-…'
  const [from, until] = [readMoment(query.from), readMoment(query.until)]
  if (from === null || until === null) return 'a time is written as 2026-11-21 or 2026-11-21T13:00, in UTC'
  const { kind, agent, reviewer, upstream, verb, effect, outcome, call, approval } = query
  return {
    ...(from !== undefined && { from }),
    ...(until !== undefined && { until }),
    ...(kind !== '' && { kinds: [kind] }),
    ...given({ agent, reviewer, upstream, verb, effect, outcome, call, approval }),
  }
}

function given(texts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ''))
}

const MOMENT = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)?Z?$/

/** In UTC, as browsers send it, without a zone. Undefined if nothing is given, null if it is no time. */
function readMoment(text: string): number | undefined | null {
  if (text === '') return undefined
  if (!MOMENT.test(text)) return null
  const ms = Date.parse(text.length > 10 && !text.endsWith('Z') ? `${text}Z` : text)
  return Number.isNaN(ms) ? null : ms
}

/** The same query as the part of a link after `?`, with what is added. */
export function writeQuery(query: Partial<AuditQuery>, more: Readonly<Record<string, string>> = {}): string {
  return new URLSearchParams({ ...given(query), ...more }).toString()
}
