import { z } from 'zod'
import { UNSEEN, type Unseen } from '../domain/precedent.ts'

/* What helps a reviewer decide, as it travels: who else looks at an approval, and what was decided before. */

const time = z.iso.datetime().describe('UTC, RFC 3339')
const count = z.int().min(0)
const person = z.object({ issuer: z.string(), subject: z.string(), name: z.string().nullable() })

export const claimSchema = z
  .object({ reviewer: person, via: z.string(), at: time, until: time })
  .describe('Who says that they are looking at it. It takes nothing from anybody’s right to vote')

const differenceSchema = z.object({
  extent: z
    .enum(['none', 'attempt', 'content'])
    .describe('`none`: the same to the last byte; `attempt`: but for what clients make anew for every attempt'),
  changes: z
    .array(
      z.object({
        at: z.string().describe('The field, as a JSON pointer into the body or in words'),
        before: z.string().nullable(),
        now: z.string().nullable(),
      }),
    )
    .describe('At most 20, as cards show them: secrets are replaced, long values cut to where they differ'),
  more: count.describe('Changes that are not listed'),
  unseen: z
    .array(z.enum(Object.keys(UNSEEN) as Unseen[])) // Object.keys forgets that the keys of a literal are known.
    .describe('What could not be compared'),
})

const precedentSchema = z.object({
  approval: z.string(),
  at: time,
  by: z.array(z.object({ reviewer: person, reason: z.string().nullable(), via: z.string() })).describe('At most 5'),
  difference: differenceSchema.describe('What is different in this call'),
})

export const precedentsSchema = z
  .object({
    within_s: count.describe('Seconds: what was decided longer ago is not looked at'),
    partial: z.boolean().describe('Whether there were more decisions than are looked at'),
    approved: count.describe('By as many people as it took'),
    identical: count.describe('Of these, with the very content of this call'),
    overridden: count,
    granted: count.describe('Let through by grants: nobody looked at these'),
    denied: count,
    approvers: z.array(z.object({ reviewer: person, times: z.int().min(1) })).describe('At most 5'),
    last_approved: precedentSchema.nullable(),
    last_denied: precedentSchema.nullable(),
  })
  .describe('Decisions on the same call before: the same principal, upstream and actions, whatever the content')

export type ClaimPart = z.output<typeof claimSchema>
export type PrecedentsPart = z.output<typeof precedentsSchema>
