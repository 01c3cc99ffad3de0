import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { APPROVAL_ID } from '../cursor.ts'

/** What was written as a reason. Browsers send line ends as CRLF, and an empty field as nothing. */
export const reasonField = z
  .string()
  .default('')
  .transform((text) => text.replaceAll('\r\n', '\n').trim())

/** A form that names one thing of a list, to end it. */
export const removeForm = z.object({ csrf: z.string(), id: z.uuid() })

const paramsSchema = z.object({ id: z.string().regex(APPROVAL_ID) })

/** The id in the path; null if it is none. */
export function idOf({ params }: FastifyRequest): string | null {
  const parsed = paramsSchema.safeParse(params)
  return parsed.success ? parsed.data.id : null
}
