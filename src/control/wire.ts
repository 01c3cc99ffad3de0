import { z } from 'zod'
import { STATES } from '../domain/approval.ts'
import { OUTCOMES, type OutcomeName } from '../domain/entry.ts'
import { COVERS } from '../domain/permit.ts'
import { ASSURANCES, ROLES } from '../domain/principal.ts'
import { APPROVAL_ID, readCursor } from './cursor.ts'
import { claimSchema, precedentsSchema } from './help-wire.ts'
import { questionSchema, repliesField } from './question-wire.ts'

/*
 * What travels between people's programs and the control listener. Requests are checked against these schemas, strictly;
 * who reads an answer by them ignores what a later release adds. The OpenAPI document is made of them.
 */

export const time = z.iso.datetime().describe('UTC, RFC 3339')
const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits')
  .describe('Hexadecimal SHA-256')
const count = z.int().min(0)

export const partySchema = z.object({
  issuer: z.string().describe('The issuer, as the token’s `iss`'),
  subject: z.string(),
})

export const requesterSchema = z.object({
  issuer: z.string(),
  subject: z.string(),
  on_behalf_of: partySchema.nullable().describe('Whom the agent acts for, if a token said so'),
  actors: z.array(partySchema).describe('Prior actors, newest first'),
  owner: partySchema.nullable().describe('Who answers for the agent'),
  groups: z.array(z.string()).describe('As `issuer/group`'),
  client: z.string().nullable().describe('The OAuth client its token was issued to'),
})

export const voteSchema = z.object({
  reviewer: partySchema.extend({ name: z.string().nullable() }),
  decision: z.enum(['approve', 'deny']),
  reason: z.string().nullable(),
  via: z
    .string()
    .describe(
      '`api`, `slack`, …; `grant:<id>` if a grant was used, `override:api` for an override, `delegate:<id>:api`',
    ),
  stands_for: partySchema.exactOptional().describe('Who is away, and in whose place the reviewer voted'),
  assurance: z.enum(ASSURANCES).describe('How the person was authenticated for it'),
  at: time,
})

export const approvalSchema = z.object({
  id: z.string(),
  state: z.enum(STATES),
  call_id: z.string().describe('The call that opened it'),
  requester: requesterSchema,
  upstream: z.string(),
  verb: z.string(),
  resource: z.string(),
  rules: z.array(z.string()).describe('The rules that hold it, as `policy/rule`'),
  requirements: z
    .array(
      z.object({
        rule: z.string(),
        reviewers: z.array(z.string()).describe('`group:finance`, `group:okta/finance`, `issuer|subject` or `*`'),
        quorum: z.int().min(1),
        reason_required: z.boolean(),
        exclude: z.array(z.string()).exactOptional().describe('Whom it never counts'),
        deny_quorum: z.int().min(1).exactOptional().describe('How many have to deny; 1 if left out'),
        hours: z.string().exactOptional().describe('When approvals count, as `mon-fri 08:00-18:00 Europe/Berlin`'),
        remind: z.array(time).exactOptional().describe('When reviewers are reminded'),
        escalate: z
          .object({ at: time, to: z.array(z.string()) })
          .exactOptional()
          .describe('Who may vote as well from then on'),
        grant: z
          .object({ minutes: z.number(), uses: z.int().min(1), covers: z.enum(COVERS) })
          .exactOptional()
          .describe('The most that a reviewer may grant along with an approval'),
        assurance: z
          .enum(['fresh', 'passkey'])
          .exactOptional()
          .describe('How sure one has to be of whoever approves; a passkey is used in the console'),
        max_age: z.int().min(0).exactOptional().describe('Seconds that a fresh sign-in may be old'),
        override: z.array(z.string()).exactOptional().describe('Who may approve in place of the quorum'),
      }),
    )
    .describe('All of them have to be met'),
  digest: sha256.describe('SHA-256 of what would be forwarded'),
  card_hash: sha256.describe('SHA-256 of the card; a vote names the card it was made on'),
  detached: z.boolean().describe('Whether the gateway forwards by itself once approved'),
  created_at: time,
  expires_at: time.describe('Until when people may decide'),
  use_by: time.nullable().describe('Until when an approved call may be used'),
  decided_at: time.nullable(),
  reason: z.string().nullable().describe('Why it was denied or withdrawn'),
  votes: z.array(voteSchema),
  claim: claimSchema.exactOptional(),
})

export const cardSchema = z
  .object({
    approval: z.string(),
    verified: z.object({
      agent: z.string(),
      issuer: z.string(),
      onBehalfOf: z.string().nullable(),
      owner: z.string().nullable(),
      groups: z.array(z.string()),
    }),
    derived: z.object({
      upstream: z.string(),
      labels: z.record(z.string(), z.string()),
      actions: z.array(z.object({ verb: z.string(), resource: z.string() })),
      payload: z
        .object({
          mediaType: z.string().nullable(),
          bytes: count,
          text: z.string().nullable(),
          isCut: z.boolean(),
          redacted: z.array(z.string()),
        })
        .nullable(),
      digest: sha256,
      rules: z.array(z.object({ name: z.string(), message: z.string().nullable() })),
      notes: z.array(z.string()),
    }),
    claimed: z
      .object({
        reason: z.string().optional(),
        model: z.string().optional(),
        prompt: z.string().optional(),
        conversation: z.string().optional(),
        trace: z.string().optional(),
      })
      .describe('What the agent says of itself. Nobody checked it'),
    createdAt: count,
    expiresAt: count,
    needed: z.array(
      z.object({
        reviewers: z.array(z.string()),
        quorum: z.int().min(1),
        isReasonRequired: z.boolean(),
        exclude: z.array(z.string()).exactOptional(),
        denyQuorum: z.int().min(1).exactOptional(),
        hours: z.string().exactOptional(),
        escalate: z.object({ at: count, to: z.array(z.string()) }).exactOptional(),
        assurance: z.object({ kind: z.enum(['fresh', 'passkey']), maxAgeMs: count.exactOptional() }).exactOptional(),
        override: z.array(z.string()).exactOptional(),
      }),
    ),
  })
  .describe('The card exactly as it is hashed: the SHA-256 of its canonical JSON (RFC 8785) is `card_hash`')

export const exactCallSchema = z
  .object({
    head: z.record(z.string(), z.unknown()).describe('What stands around the body, in the protocol’s own terms'),
    body: z.object({
      bytes: count,
      encoding: z.enum(['utf8', 'base64']).describe('How `content` writes the bytes'),
      content: z.string(),
    }),
  })
  .describe('The call exactly as it would be forwarded: nothing cut, nothing redacted')

export const noticeSchema = z.object({
  code: z.string().describe('`observe_mode`'),
  upstreams: z.array(z.string()),
  message: z.string(),
})

export const notices = z.array(noticeSchema).describe('What everybody who looks has to know')

export const shownSchema = z.object({
  approval: approvalSchema,
  card: cardSchema.nullable().describe('Null once it was erased'),
  outcome: z
    .enum(Object.keys(OUTCOMES) as OutcomeName[]) // Object.keys forgets that the keys of a literal are known.
    .nullable()
    .describe('How the call that used it ended; null if none has'),
  call: exactCallSchema.nullable().describe('Null once it can no longer be forwarded'),
  precedents: precedentsSchema.nullable().exactOptional(),
  questions: z.array(questionSchema).exactOptional().describe('What the agent was asked about it, in order'),
  notices,
})

export const listedSchema = z.object({
  approvals: z.array(approvalSchema).describe('Newest first'),
  next: z.string().nullable().describe('The `after` of the next page; null on the last'),
  notices,
})

const covers = z
  .enum(COVERS)
  .describe(
    'This very `call`; any of the verb on this `resource` that the rule holds; or any of the verb that it holds',
  )

export const grantSchema = z.object({
  id: z.string(),
  approval: z.string().describe('On which it was given'),
  reviewer: partySchema.extend({ name: z.string().nullable() }),
  reason: z.string().nullable(),
  requester: requesterSchema,
  upstream: z.string(),
  verb: z.string(),
  resource: z.string(),
  covers,
  rules: z.array(z.string()).describe('The rules that permitted it, as `policy/rule`'),
  allows: z.string().describe('What it lets happen, in words'),
  uses: count,
  most_uses: z.int().min(1),
  given_at: time,
  until: time,
  revoked_at: time.nullable(),
})

export const grantsSchema = z.object({
  grants: z.array(grantSchema).describe('Those in force, newest first; at most 500'),
  notices,
})

export const revokedSchema = z.object({
  grant: grantSchema,
  changed: z.boolean().describe('False if it was revoked already: then nothing is recorded'),
  notices,
})

export const votedSchema = z.object({
  approval: approvalSchema,
  grant: grantSchema.nullable().exactOptional().describe('What was granted along with it'),
  notices,
})

export const claimedSchema = z.object({
  approval: approvalSchema,
  changed: z.boolean().describe('False if it was so already: then nothing is recorded'),
  notices,
})
export const askedSchema = z.object({ question: questionSchema, notices })

export const whoamiSchema = z.object({
  issuer: z.string(),
  subject: z.string(),
  name: z.string().nullable(),
  groups: z.array(z.string()).describe('As `issuer/group`'),
  roles: z.array(z.enum(ROLES)),
  assurance: z.enum(ASSURANCES),
  authenticated_at: time.nullable().describe('When the person signed in, if the token says'),
  may_vote: z.boolean().describe('Whether this token may vote, or lists and shows only'),
  notices,
})

export const signInSchema = z.object({
  issuers: z.array(
    z.object({
      name: z.string(),
      issuer: z.string(),
      client_id: z.string().describe('The OAuth client for votes, signed in to afresh each time'),
      read_client_id: z.string().nullable().describe('The OAuth client whose tokens list and show only'),
      scope: z.string(),
      parameters: z.record(z.string(), z.string()).describe('What else to ask the device endpoint with'),
    }),
  ),
})

export const agentSchema = z.object({
  issuer: z.string(),
  subject: z.string(),
  seen_at: time.nullable().describe('Its last call; null if it has not called, or not for 90 days'),
  calls: count.describe('Calls within the last 24 hours, by whole hours'),
  holds: count.describe('Of these, held for people'),
  denials: count.describe('Of these, denied by policy, or while suspended'),
  suspension: z
    .object({
      since: time,
      by: partySchema,
      reason: z.string().nullable(),
      breaker: z.string().nullable().describe('The circuit breaker that stopped it; null if a person did'),
    })
    .nullable()
    .describe('Null unless it is stopped'),
  held_by: z
    .array(z.object({ breaker: z.string(), since: time, reason: z.string() }))
    .describe('The circuit breakers that hold its every call, until it is resumed'),
})

export const agentsSchema = z.object({
  agents: z.array(agentSchema).describe('Those that are stopped or held first, then by their last call; at most 500'),
  notices,
})

export const switchedSchema = z.object({
  agent: agentSchema,
  changed: z.boolean().describe('False if it was so already: then nothing is recorded'),
  notices,
})

export const openapiSchema = z.record(z.string(), z.unknown())

export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
})

export const approvalIdSchema = z.string().regex(APPROVAL_ID, 'must be an approval’s id')

export const listQuerySchema = z.strictObject({
  state: z
    .string()
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(STATES)).max(STATES.length))
    .optional()
    .describe('States, separated by commas; those still open (pending, approved) if left out'),
  upstream: z
    .string()
    .min(1)
    .max(200)
    .regex(/^\P{Cc}*$/u, 'must have no control characters')
    .optional(),
  limit: z.coerce.number().int().min(1).max(100).default(50),
  after: z
    .string()
    .transform((text, context) => {
      const cursor = readCursor(text)
      if (cursor === null) context.addIssue({ code: 'custom', message: 'must be the `next` of a page' })
      return cursor ?? z.NEVER
    })
    .optional()
    .describe('The `next` of the page before'),
})

const reason = z
  .string()
  .min(1)
  .max(2_000)
  // What is kept, shown and hashed: nothing in it that breaks a database, a screen or a comparison.
  .refine((text) => text.isWellFormed() && !/[^\P{Cc}\n\t]/u.test(text), 'must have no control characters')

export const ballotSchema = z.strictObject({
  card_hash: sha256.describe('The `card_hash` of the card that was looked at'),
  reason: reason.optional().describe('For the agent to learn from; some rules require it'),
})

export const grantAskSchema = z
  .strictObject({
    minutes: z.int().min(1).max(1440),
    uses: z.int().min(1).max(1000),
    covers: covers.default('call'),
  })
  .describe('The same again without asking, within what the rule permits')

export const approvingSchema = ballotSchema.extend({ grant: grantAskSchema.optional(), replies: repliesField })

export const overridingSchema = ballotSchema.extend({
  reason: reason.refine((text) => text.trim() !== '', 'must say something').describe('Told to the reviewers'),
  replies: repliesField,
})

export const claimingSchema = z.strictObject({})

export const revokingSchema = z.strictObject({ reason: reason.optional().describe('Goes into the audit log') })

export const nameField = z
  .string()
  .min(1)
  .max(1_000)
  .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), 'must have no control characters')

export const issuerField = nameField.refine((text) => !text.includes('|'), 'must have no bar')

export const switchSchema = z.strictObject({
  issuer: issuerField.describe('The issuer of the agent, or of the person whose agents are meant'),
  subject: nameField,
  reason: reason.refine((text) => text.trim() !== '', 'must say something').describe('Goes into the audit log'),
})

export type ApprovalWire = Sealed<z.output<typeof approvalSchema>>
export type ShownWire = Sealed<z.output<typeof shownSchema>>
export type ListedWire = Sealed<z.output<typeof listedSchema>>
export type QuestionWire = Sealed<z.output<typeof questionSchema>>
export type AskedWire = Sealed<z.output<typeof askedSchema>>
export type VotedWire = Sealed<z.output<typeof votedSchema>>
export type ClaimedWire = Sealed<z.output<typeof claimedSchema>>
export type GrantWire = Sealed<z.output<typeof grantSchema>>
export type GrantsWire = Sealed<z.output<typeof grantsSchema>>
export type RevokedWire = Sealed<z.output<typeof revokedSchema>>
export type AgentWire = Sealed<z.output<typeof agentSchema>>
export type AgentsWire = Sealed<z.output<typeof agentsSchema>>
export type SwitchedWire = Sealed<z.output<typeof switchedSchema>>
export type WhoamiWire = Sealed<z.output<typeof whoamiSchema>>
export type SignInWire = Sealed<z.output<typeof signInSchema>>
export type NoticeWire = Sealed<z.output<typeof noticeSchema>>

/** Read-only all the way down, so that values of the domain can be written without a copy. */
export type Sealed<T> = T extends object ? { readonly [Key in keyof T]: Sealed<T[Key]> } : T
