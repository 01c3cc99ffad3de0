import { z } from 'zod'
import { parseDuration, parseSize } from '../domain/units.ts'

/** In milliseconds. */
export const duration = z
  .string()
  .refine((text) => parseDuration(text) !== null, 'must be a duration like 50s, 15m or 8h')
  .transform((text) => parseDuration(text) ?? 0)
  .meta({ title: 'duration' })

/** In bytes. */
export const size = z
  .string()
  .refine((text) => parseSize(text) !== null, 'must be a size like 512KiB or 10MiB')
  .transform((text) => parseSize(text) ?? 0)
  .meta({ title: 'size' })

/** Where to listen. */
export const place = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$/, 'must be host:port')
  .transform((text) => {
    const colon = text.lastIndexOf(':')
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
  })
  .refine(({ port }) => port <= 65_535, 'the port must be at most 65535')
  .meta({ title: 'host:port' })

export type Place = z.output<typeof place>

/** What a listener proves itself with. */
export const certificate = z.strictObject({
  cert: z.string().describe('PEM certificate chain, mostly ${file:/run/secrets/tls.crt}'),
  key: z.string().describe('PEM private key'),
})
