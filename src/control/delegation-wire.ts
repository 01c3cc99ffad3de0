import { z } from 'zod'
import { APPROVAL_ID } from './cursor.ts'
import { issuerField, nameField, notices, partySchema, time } from './wire.ts'

/* Who stands in for whom, as it travels between people's programs and the control listener. */

const named = partySchema.extend({ name: z.string().nullable() })

export const delegationSchema = z.object({
  id: z.string(),
  person: named.describe('Who is away'),
  delegate: named.describe('Who stands in for them'),
  from: time,
  until: time,
  made_at: time,
})

export const delegationsSchema = z.object({
  delegations: z.array(delegationSchema).describe('Those that are not over, the first to begin first; at most 500'),
  notices,
})

export const delegatingSchema = z.strictObject({
  delegate: z.strictObject({ issuer: issuerField, subject: nameField }),
  from: time.optional().describe('At once if left out'),
  until: time,
})

export const delegatedSchema = z.object({ delegation: delegationSchema, notices })

export const endingSchema = z.strictObject({})

export const endedSchema = z.object({ id: z.string(), notices })

export const delegationIdSchema = z.string().regex(APPROVAL_ID, 'must be a delegation’s id')
