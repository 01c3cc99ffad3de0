import { z } from 'zod'
import { BREAKER_EFFECTS, COUNTED } from '../domain/breaker.ts'
import { isTimeZone, parseDays, parseTimeOfDay } from '../domain/hours.ts'
import { parseTolerance } from '../domain/impact.ts'
import { COVERS } from '../domain/permit.ts'
import { parseQualified } from '../domain/qualified.ts'
import { parseReviewer, parseSelector } from '../domain/selector.ts'
import { parseDuration } from '../domain/units.ts'
import { parseLimit } from './limit.ts'
import { patternFault } from './pattern.ts'

const MOST_ITEMS = 200
const MOST_RULES = 2000
const MOST_BREAKERS = 50
/** What a breaker may let pass, and the shortest time it may look at. */
const [MOST_COUNTED, SHORTEST_WINDOW_MS] = [1_000_000, 1000]
/** Longest expression, in characters. */
const LONGEST_CONDITION = 2000
/** How long people may be given to decide, and a call to run. */
const LONGEST_MS = 31 * 86_400_000
/** A grant is given by the minute. */
const [GRANT_UNIT_MS, LONGEST_GRANT_MS] = [60_000, 86_400_000]
/** How old a sign-in may be that is called fresh: no less than the way there and back takes. */
const [LEAST_AGE_MS, LONGEST_AGE_MS] = [60_000, 86_400_000]

const name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'must be a name of letters, digits, ".", "_" and "-", at most 100')

const selector = z
  .string()
  .max(500)
  .refine(
    (text) => parseSelector(text) !== null,
    'must be "*", "group:<name>", "group:<issuer>/<name>" or "<issuer URL>|<subject>"',
  )

const reviewer = z
  .string()
  .max(500)
  .refine(
    (text) => parseReviewer(text) !== null,
    'must be "*", "manager", "group:<name>", "group:<issuer>/<name>" or "<issuer URL>|<subject>"',
  )

const duration = z.string().refine(
  (text) => {
    const ms = parseDuration(text)
    return ms !== null && ms <= LONGEST_MS
  },
  // What is no duration at all is told once, whatever bounds it has besides.
  { error: 'must be a duration like 50s, 15m or 8h, at most 31d', abort: true },
)

const limit = z
  .string()
  .refine(
    (text) => parseLimit(text) !== null,
    'must be like "10MiB per call", "100MiB per 1h", "5000 rows per 1h" or "100 calls per 1m"',
  )

const column = z
  .string()
  .max(500)
  .refine(
    (text) => parseQualified(text)?.length === 3,
    'must be "schema.relation.column", each in lower case or in double quotes',
  )

const resource = z
  .string()
  .max(500)
  .superRefine((text, context) => {
    const fault = patternFault(text)
    if (fault) context.addIssue({ code: 'custom', message: fault })
  })

function isAge(text: string): boolean {
  const ms = parseDuration(text) ?? 0
  return ms >= LEAST_AGE_MS && ms <= LONGEST_AGE_MS && ms % 1000 === 0
}

function list<Item extends z.ZodType>(item: Item) {
  return z.array(item).min(1, 'must not be empty: leave the key out to match anything').max(MOST_ITEMS)
}

const time = z.string().refine((text) => parseTimeOfDay(text) !== null, 'must be a time like "08:00", at most "24:00"')

const hoursSchema = z
  .strictObject({
    days: z
      .array(z.string().refine((text) => parseDays(text) !== null, 'must be a day like mon, or days like mon-fri'))
      .min(1, 'must not be empty')
      .max(7),
    from: time.refine((text) => text !== '24:00', 'must be before "24:00"'),
    to: time.describe('Not counted itself; on the next day if it is not after `from`.'),
    zone: z.string().max(100).refine(isTimeZone, 'must be a time zone like Europe/Berlin or UTC'),
  })
  .refine(({ from, to }) => from !== to, { path: ['to'], message: 'must differ from "from"' })

const escalateSchema = z.strictObject({
  after: duration.describe('How long after the opening.'),
  to: list(reviewer).describe('Who may vote from then on, besides `reviewers`.'),
})

function isGrantable(text: string): boolean {
  const ms = parseDuration(text) ?? 0
  return ms > 0 && ms <= LONGEST_GRANT_MS && ms % GRANT_UNIT_MS === 0
}

const grantSchema = z.strictObject({
  for: duration.refine(isGrantable, 'must be 1m to 24h, in whole minutes').describe('How long at most.'),
  uses: z.int().min(1).max(1000).describe('How many calls at most.'),
  covers: z
    .enum(COVERS)
    .exactOptional()
    .describe(
      'The same again: the same `call`, content and all (if left out); any call of the verb on the same `resource`; or any of the verb that the `rule` holds.',
    ),
})

const named = selector.refine((text) => text !== '*', 'must name somebody: "*" is everybody')

const approvalShape = {
  reviewers: list(reviewer).describe('Who may vote: any one of these selectors entitles a person.'),
  exclude: list(selector).exactOptional().describe('Who never counts, whatever else names them.'),
  quorum: z.int().min(1).max(20).exactOptional().describe('How many different people have to approve; 1 if left out.'),
  expires: duration.exactOptional().describe('How long people have to decide; `hold.expires` if left out.'),
  reason_required: z.boolean().exactOptional().describe('Whether a vote needs a reason; false if left out.'),
  deny_quorum: z
    .int()
    .min(1)
    .max(20)
    .exactOptional()
    .describe('How many different people have to deny; 1 if left out.'),
  hours: hoursSchema.exactOptional().describe('When approvals count; at any time if left out.'),
  remind: z
    .array(duration)
    .min(1, 'must not be empty')
    .max(10)
    .exactOptional()
    .describe('How long after the opening reviewers are reminded.'),
  escalate: escalateSchema.exactOptional().describe('Whom else to ask when nobody decides.'),
  assurance: z
    .enum(['fresh', 'passkey'])
    .exactOptional()
    .describe(
      'How sure one has to be of whoever approves: a `fresh` sign-in, or a `passkey` used for this very vote, in the console.',
    ),
  max_age: duration
    .refine(isAge, 'must be 1m to 24h, in whole seconds')
    .exactOptional()
    .describe('How old a fresh sign-in may be; 5m if left out.'),
  grant: grantSchema
    .exactOptional()
    .describe('What a reviewer who approves may grant besides: the same again, without asking. Nothing if left out.'),
  override: list(named)
    .exactOptional()
    .describe('Who may approve in place of the quorum, with a reason and a fresh sign-in. Nobody if left out.'),
}

const impactSchema = z.strictObject({
  sample: z
    .int()
    .min(1)
    .max(5)
    .exactOptional()
    .describe('How many of the rows that a held statement would touch its card shows. None if left out.'),
  tolerance: z
    .string()
    .refine((text) => parseTolerance(text) !== null, 'must be like "10%" or "20 rows"')
    .exactOptional()
    .describe('How many more rows than were counted a statement may touch before it is undone. None if left out.'),
})

const approvalSchema = z.strictObject(approvalShape).superRefine((approval, context) => {
  const { expires, remind = [], escalate, assurance, max_age: maxAge, grant } = approval
  const endMs = expires === undefined ? null : parseDuration(expires)
  if (maxAge !== undefined && assurance !== 'fresh') {
    context.addIssue({ code: 'custom', path: ['max_age'], message: 'belongs to "assurance: fresh"' })
  }
  if (grant && assurance) {
    const message = 'would let calls go without what "assurance" asks for'
    context.addIssue({ code: 'custom', path: ['grant'], message })
  }
  const tellLate = (path: (string | number)[], text: string) => {
    const ms = parseDuration(text)
    if (endMs === null || ms === null || ms < endMs) return
    context.addIssue({ code: 'custom', path, message: `must be less than "expires", ${expires}` })
  }
  for (const [index, text] of remind.entries()) tellLate(['remind', index], text)
  if (escalate) tellLate(['escalate', 'after'], escalate.after)
})

export type ApprovalTerms = z.infer<typeof approvalSchema>

/** Which calls a rule or a breaker is about. */
const targetShape = {
  principals: list(selector).exactOptional().describe('Who calls; anyone if left out.'),
  upstreams: list(z.string().min(1).max(100))
    .exactOptional()
    .describe('Names of upstreams; every upstream if left out.'),
  verbs: list(z.string().min(1).max(100))
    .exactOptional()
    .describe('Verbs of the protocol, exactly, or `*`; every verb if left out.'),
  resources: list(resource).exactOptional().describe('Resource patterns; every resource if left out.'),
}

const ruleShape = {
  name: name.describe('Unique within its policy.'),
  ...targetShape,
  when: z.string().min(1).max(LONGEST_CONDITION).exactOptional().describe('A CEL expression that must be true.'),
  effect: z.enum(['allow', 'hold', 'deny']).describe('`deny` beats `hold` beats `allow`.'),
  limits: list(limit)
    .exactOptional()
    .describe('Bounds on what an allow lets through, per call or per principal and window.'),
  approval: approvalSchema
    .exactOptional()
    .describe('What a hold asks for; on an allow with limits: what it asks for once one is exceeded.'),
  mask: list(column).exactOptional().describe('Columns whose values the agent is not given: `schema.relation.column`.'),
  impact: impactSchema.exactOptional().describe('What holds for the rows that a statement touches.'),
  message: z.string().min(1).max(500).exactOptional().describe('Told to the agent, and shown on the card.'),
  max_duration: duration
    .exactOptional()
    .describe('When a stream or a connection that this rule lets through is ended.'),
}

const ruleSchema = z.strictObject(ruleShape).superRefine((rule, context) => {
  const fault = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
  if (rule.effect === 'hold' && !rule.approval) fault('effect', 'a hold needs "approval": who may countersign it')
  if (rule.effect === 'deny' && rule.approval) fault('approval', 'a deny asks nobody')
  if (rule.effect === 'deny' && rule.mask) fault('mask', 'a deny lets nothing through')
  if (rule.effect === 'deny' && rule.max_duration) fault('max_duration', 'a deny lets nothing through')
  if (rule.effect === 'deny' && rule.impact) fault('impact', 'a deny lets nothing touch any row')
  if (rule.effect === 'allow' && rule.impact?.sample !== undefined) {
    fault('impact', 'a sample is shown to reviewers, and an allow asks nobody')
  }
  if (rule.effect !== 'allow' && rule.limits) fault('limits', `limits belong to an allow, not to a ${rule.effect}`)
  if (rule.effect === 'allow' && rule.approval && !rule.limits) {
    fault('approval', 'an allow asks nobody, unless it has "limits"; did you mean "effect: hold"?')
  }
})

const breakerSchema = z
  .strictObject({
    name: name.describe('Unique within its policy, among its rules too.'),
    ...targetShape,
    counts: z
      .enum(COUNTED)
      .describe(
        '`calls`, whatever becomes of them; `holds`, approvals that people were asked for; `denials`, by policy or by reviewers.',
      ),
    more_than: z.int().min(1).max(MOST_COUNTED).describe('The next one of the same agent trips it.'),
    within: duration
      .refine((text) => (parseDuration(text) ?? 0) >= SHORTEST_WINDOW_MS, 'must be 1s or more')
      .describe('The sliding window.'),
    // biome-ignore lint/suspicious/noThenProperty: a text, which is never called; it is how the file reads.
    then: z
      .enum(BREAKER_EFFECTS)
      .describe('`suspend` stops the agent; `hold` holds each call of it that rules would allow.'),
    approval: approvalSchema.exactOptional().describe('With `then: hold`: what each held call asks for.'),
  })
  .superRefine(({ then, approval }, context) => {
    const fault = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message })
    if (then === 'hold' && !approval) fault(['then'], 'a hold needs "approval": who may countersign the calls')
    if (then === 'suspend' && approval) fault(['approval'], 'a suspended agent asks nobody')
    if (approval?.grant) fault(['approval', 'grant'], 'would let calls of a tripped agent go without asking')
  })

export type Breaker = z.infer<typeof breakerSchema>

const policyShape = {
  name: name.describe('Unique among all policies.'),
  rules: z.array(ruleSchema).min(1, 'must have at least one rule').max(MOST_RULES),
  breakers: z
    .array(breakerSchema)
    .min(1, 'must not be empty')
    .max(MOST_BREAKERS)
    .exactOptional()
    .describe('Circuit breakers: what stops an agent that runs wild.'),
}

/** One policy file, as the contract shows it. */
export const policySchema = z.strictObject(policyShape).superRefine((policy, context) => {
  const seen = new Set<string>()
  for (const [index, rule] of policy.rules.entries()) {
    if (seen.has(rule.name)) {
      context.addIssue({
        code: 'custom',
        path: ['rules', index, 'name'],
        message: `"${rule.name}" names another rule already`,
      })
    }
    seen.add(rule.name)
  }
  for (const [index, breaker] of (policy.breakers ?? []).entries()) {
    if (seen.has(breaker.name)) {
      context.addIssue({
        code: 'custom',
        path: ['breakers', index, 'name'],
        message: `"${breaker.name}" names another rule or breaker already`,
      })
    }
    seen.add(breaker.name)
  }
})

export type Policy = z.infer<typeof policySchema>
export type Rule = Policy['rules'][number]
