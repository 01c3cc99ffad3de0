import { z } from 'zod'
import { parseDuration, parseSize } from '../domain/units.ts'

const DAY_MS = 86_400_000

/** `hold:` of countersign.yaml. Durations become milliseconds, sizes bytes. */
export const holdOptions = z
  .strictObject({
    wait: duration('50s', DAY_MS).describe(
      'How long a held call waits on its connection. Below the time-out of most clients; an upstream may have its own.',
    ),
    expires: duration('15m', 30 * DAY_MS).describe('How long people may decide, where the rule does not say.'),
    use_within: duration('15m', DAY_MS).describe('How long after the last vote an approved call may still be used.'),
    repeat_denial: duration('10m', DAY_MS).describe('How long a denial answers the same call again by itself.'),
    open_per_principal: z
      .int()
      .min(1)
      .max(10_000)
      .default(20)
      .describe('How many approvals of one principal may be open at once.'),
    held_bytes: size('256MiB').describe('Bytes of held calls and kept responses, of everybody together.'),
    held_bytes_per_principal: size('64MiB').describe('The same for one principal.'),
    keep: duration('24h', 90 * DAY_MS).describe(
      "How long after its end an approval's card, and the response of a detached call, can still be read, and decisions on the same call before are shown. Then their key is erased. An Idempotency-Key answers as long, and for a day at least.",
    ),
  })
  .prefault({})
  .describe('What becomes of calls that wait for people.')

/** How calls are held, with every limit of it. */
export type HoldOptions = z.infer<typeof holdOptions>

function duration(fallback: string, mostMs: number) {
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const ms = parseDuration(text)
      if (ms !== null && ms <= mostMs) return ms
      context.addIssue({
        code: 'custom',
        message: ms === null ? 'a duration like 50s, 15m or 8h' : `at most ${mostMs / DAY_MS} days`,
      })
      return z.NEVER
    })
    .meta({ title: 'duration' })
}

function size(fallback: string) {
  return z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const bytes = parseSize(text)
      if (bytes !== null) return bytes
      context.addIssue({ code: 'custom', message: 'a size like 512KiB or 10MiB' })
      return z.NEVER
    })
    .meta({ title: 'size' })
}
