import { z } from 'zod'
import { MOST_QUESTION, MOST_QUESTIONS } from '../domain/question.ts'

/* What people ask an agent, and what it replies, as it travels between people's programs and the control listener. */

const time = z.iso.datetime().describe('UTC, RFC 3339')

export const questionSchema = z.object({
  id: z.string(),
  text: z.string(),
  by: z.object({ issuer: z.string(), subject: z.string(), name: z.string().nullable() }),
  asked_at: time,
  reply: z
    .object({ text: z.string(), at: time })
    .nullable()
    .describe('What the agent says; nobody checked it. Null until it has replied'),
})

export const askingSchema = z.strictObject({
  question: z
    .string()
    .max(MOST_QUESTION)
    .refine((text) => text.trim() !== '', 'must say something')
    .refine((text) => text.isWellFormed() && !/[^\P{Cc}\n\t]/u.test(text), 'must have no control characters')
    .describe('For the agent to reply to'),
})

/** With a yes: on how many replies it is given. */
export const repliesField = z
  .int()
  .min(0)
  .max(MOST_QUESTIONS)
  .optional()
  .describe('How many replies of the agent you saw with the card; none if left out')
