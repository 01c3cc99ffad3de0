import { z } from 'zod'
import { parseRate, type Rate } from './rate.ts'

const rate = z
  .string()
  .transform((text, context): Rate => {
    const parsed = parseRate(text)
    if (parsed) return parsed
    context.addIssue({ code: 'custom', message: 'must be a rate like 200/s, 600/m or 1000/h' })
    return z.NEVER
  })
  .meta({ title: 'rate' })

/** `rate:` in countersign.yaml. */
export const rateOptions = z
  .strictObject({
    per_principal: rate
      .prefault('200/s')
      .describe(
        'Calls that one principal may make before it is answered 429 rate_limited; a body that is read counts as one more for each 8 KiB. Each replica counts its own',
      ),
    open_per_principal: z
      .number()
      .int()
      .min(1)
      .max(10_000)
      .default(1000)
      .describe(
        'Calls of one principal that may be under way at once, held ones and streams among them; each replica counts its own',
      ),
  })
  .prefault({})
  .describe('How fast one principal may call, and how much at once')

export type RateOptions = z.output<typeof rateOptions>
