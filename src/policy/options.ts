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
        'Calls that one principal may make before it is answered 429 rate_limited; each replica counts its own',
      ),
  })
  .prefault({})
  .describe('How fast one principal may call')
