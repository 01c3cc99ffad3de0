import { z } from 'zod'

/** Parts of what Slack sends when somebody presses a button of a message or submits a modal; the rest is not read. */
const id = z.string().regex(/^[A-Z][A-Z0-9]{1,30}$/)
const ts = z.string().regex(/^[0-9]{1,15}\.[0-9]{1,9}$/)
const triggerId = z.string().min(1).max(500)

/**
 * `user.team_id` is the workspace a person belongs to; `team` the one the app is installed in, or in a modal the one
 * the person belongs to. Both must be the app's own.
 */
const who = {
  user: z.object({ id, team_id: id.optional() }),
  team: z.object({ id }),
  trigger_id: triggerId,
}

export const pressSchema = z.object({
  type: z.literal('block_actions'),
  ...who,
  channel: z.object({ id }),
  message: z.object({ ts, thread_ts: ts.optional() }),
  response_url: z.string().max(2000).optional(),
  actions: z
    .array(
      z.object({
        action_id: z.enum([
          ...(['countersign.approve', 'countersign.deny', 'countersign.ask'] as const),
          ...(['countersign.claim', 'countersign.release'] as const),
        ]),
        value: z.string().max(2000),
      }),
    )
    .length(1),
})

export const submissionSchema = z.object({
  type: z.literal('view_submission'),
  ...who,
  view: z.object({
    callback_id: z.literal('countersign.reason'),
    private_metadata: z.string().max(3000),
    app_installed_team_id: id.optional(),
    state: z.object({
      values: z.object({
        reason: z.object({ reason: z.object({ value: z.string().max(3000).nullish() }) }),
      }),
    }),
  }),
})

/** The name of the app's slash command, as the manifest has it. */
export const COMMAND = '/countersign'

/** A slash command (https://docs.slack.dev/interactivity/implementing-slash-commands); `text` is what stands behind it. */
export const commandSchema = z
  .object({
    command: z.literal(COMMAND),
    text: z.string().max(4000).default(''),
    user_id: id,
    team_id: id,
    channel_id: id,
    trigger_id: triggerId,
    response_url: z.string().max(2000).optional(),
  })
  .transform(({ user_id, team_id, ...command }) => ({ ...command, user: { id: user_id }, team: { id: team_id } }))

export type Command = z.output<typeof commandSchema>
export const questionSchema = z.object({
  type: z.literal('view_submission'),
  ...who,
  view: z.object({
    callback_id: z.literal('countersign.question'),
    private_metadata: z.string().max(3000),
    app_installed_team_id: id.optional(),
    state: z.object({
      values: z.object({
        question: z.object({ question: z.object({ value: z.string().max(3000).nullish() }) }),
      }),
    }),
  }),
})

export type Press = z.output<typeof pressSchema>
export type Submission = z.output<typeof submissionSchema> | z.output<typeof questionSchema>
export type ReasonSubmission = z.output<typeof submissionSchema>

/** What the question for a reason carries until it is submitted. Slack keeps it; the person cannot change it. */
export const askedSchema = z.object({
  decision: z.enum(['approve', 'deny']),
  button: z.string().max(200),
  channel: id,
  ts,
  thread: ts.nullable(),
})

/** The same of a question to the agent. */
export const askedWhereSchema = askedSchema.omit({ decision: true })
export type AskedWhere = z.output<typeof askedWhereSchema>

export type Asked = z.output<typeof askedSchema>
