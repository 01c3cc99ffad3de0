import { z } from 'zod'
import { POPULATIONS, type PopulationName } from '../../audit/populations.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { AuditDesk, PolicyDesk } from '../desk.ts'
import { auditBody } from './audit.ts'
import { auditEntryBody } from './audit-entry.ts'
import { auditQuery, seqSchema, toSearch } from './audit-query.ts'
import { describedCall, NOTHING_DESCRIBED, toCase } from './described-call.ts'
import { createExporter } from './export.ts'
import type { Caller } from './guard.ts'
import { html } from './html.ts'
import { policyBody } from './policy.ts'
import { reportBody } from './report.ts'
import { type Answer, page, type Visit } from './respond.ts'

const PER_PAGE = 50
const DAY_MS = 86_400_000
/** What the auditors' page begins with. */
const PERIOD_DAYS = 30

const auditSchema = auditQuery.extend({ before: seqSchema.optional() })
const exportSchema = auditQuery.extend({ after: seqSchema.default(0), format: z.enum(['csv', 'jsonl']).default('csv') })
const populationSchema = auditQuery.pick({ from: true, until: true }).extend({ after: seqSchema.default(0) })
const reportSchema = z.object({ from: z.string().max(100).optional(), until: z.string().max(100).default('') })
const policySchema = z.object({ policy: z.string().max(200).optional() })
const NO_QUERY = auditQuery.parse({})

/** The rules that decide, and the record of what was decided. */
export function createBookPages(parts: {
  readonly policy: PolicyDesk
  readonly audit: AuditDesk
  readonly clock: Clock
  readonly log: Logger
}) {
  const { policy, audit, clock } = parts
  const exporter = createExporter(parts)

  function showPolicy(
    { csrf }: Caller,
    more: Pick<Parameters<typeof policyBody>[0], 'chosen' | 'described' | 'answer'>,
    status = 200,
  ): Answer {
    const { upstreams } = policy
    const view = { inForce: policy.inForce(), whyNone: policy.whyNone(), upstreams, csrf, ...more }
    return page('Policy', policyBody(view), status)
  }

  return {
    /** What is answered with a page. */
    pages: {
      'GET /policy': async ({ request, caller }: Visit) => {
        const { policy: chosen = null } = policySchema.parse(request.query)
        return showPolicy(caller, { chosen, described: NOTHING_DESCRIBED, answer: null })
      },

      'POST /policy/explain': async ({ request, caller }: Visit) => {
        const described = describedCall.parse(request.body)
        const call = toCase(described, clock.now())
        const answer = typeof call === 'string' ? { faults: [call] } : policy.explain(call)
        return showPolicy(caller, { chosen: null, described, answer }, 'faults' in answer ? 422 : 200)
      },

      'GET /audit': async ({ request }: Visit) => {
        const { before = null, ...query } = auditSchema.parse(request.query)
        const search = toSearch(query)
        const chain = await audit.chain()
        if (typeof search === 'string') {
          const view = { query, fault: search, found: null, names: new Map(), chain, isFirstPage: true }
          return page('Audit log', auditBody(view), 422)
        }
        const found = await audit.find(search, { before, limit: PER_PAGE })
        const names = await audit.namesOf(found.entries)
        return page('Audit log', auditBody({ query, fault: null, found, names, chain, isFirstPage: before === null }))
      },

      'GET /audit/:seq': async ({ request }: Visit) => {
        const { seq } = z.object({ seq: seqSchema.catch(0) }).parse(request.params)
        const found = await audit.show(seq)
        if (!found) return NO_ENTRY
        const names = await audit.namesOf([found.entry])
        return page(`Entry ${seq}`, auditEntryBody(found, names.get(seq) ?? null))
      },

      'GET /audit/report': async ({ request }: Visit) => {
        const { from = midnight(clock.now() - PERIOD_DAYS * DAY_MS), until } = reportSchema.parse(request.query)
        const search = toSearch({ ...NO_QUERY, from, until })
        const fault = typeof search === 'string' ? search : null
        return page('For auditors', reportBody({ from, until, fault }), fault === null ? 200 : 422)
      },
    },

    /** What is answered with a file; null if it is on its way. */
    files: {
      'GET /audit/export': async ({ request, reply, caller }: Visit): Promise<Answer | null> => {
        const { after, format, ...query } = exportSchema.parse(request.query)
        const search = toSearch(query)
        if (typeof search === 'string') return refused(search)
        return exporter.entries(reply, caller, { search, after, format }) ? null : BUSY
      },

      'GET /audit/report/:population': async ({ request, reply, caller }: Visit): Promise<Answer | null> => {
        const { population } = z.object({ population: z.string() }).parse(request.params)
        if (!isPopulation(population)) return NO_ENTRY
        const { after, from, until } = populationSchema.parse(request.query)
        const search = toSearch({ ...NO_QUERY, from, until })
        if (typeof search === 'string') return refused(search)
        return exporter.population(reply, caller, { search, after, name: population }) ? null : BUSY
      },
    },
  }
}

function isPopulation(name: string): name is PopulationName {
  return Object.hasOwn(POPULATIONS, name)
}

function midnight(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 10)}T00:00`
}

function refused(why: string): Answer {
  return page(
    'Not done',
    html`<h1>Not written</h1><p>${why}.</p><p><a class="button" href="/audit">To the audit log</a></p>`,
    422,
  )
}

const NO_ENTRY = page(
  'Not found',
  html`<h1>There is nothing here</h1><p><a class="button" href="/audit">To the audit log</a></p>`,
  404,
)

const BUSY = page(
  'Slow down',
  html`<h1>Another file is being written</h1><p>Wait until it is there, and try again.</p><p><a class="button" href="/audit">To the audit log</a></p>`,
  429,
)
