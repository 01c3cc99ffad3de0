import { z } from 'zod'
import { parseDuration, parseSize } from '../domain/units.ts'

// Each says the same of a number as of a text that is none: quotes around `600` would not make it a duration.
const A_DURATION = 'must be a duration like 50s, 15m or 8h'
const A_SIZE = 'must be a size like 512KiB or 10MiB'
const A_PLACE = 'must be host:port'

/** In milliseconds. */
export const duration = z
  .string(A_DURATION)
  .refine((text) => parseDuration(text) !== null, A_DURATION)
  .transform((text) => parseDuration(text) ?? 0)
  .meta({ title: 'duration' })

/** In bytes. */
export const size = z
  .string(A_SIZE)
  .refine((text) => parseSize(text) !== null, A_SIZE)
  .transform((text) => parseSize(text) ?? 0)
  .meta({ title: 'size' })

/** Where to listen. */
export const place = z
  .string(A_PLACE)
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$/, A_PLACE)
  .transform((text) => {
    const colon = text.lastIndexOf(':')
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) }
  })
  .refine(({ port }) => port <= 65_535, 'the port must be at most 65535')
  .meta({ title: 'host:port' })

export type Place = z.output<typeof place>

/** One or more, as their text: whoever writes a path here would trust nobody, and learn it at the first connection. */
export const certificates = z
  .string()
  .includes('-----BEGIN CERTIFICATE-----', { message: 'must be PEM certificates, mostly by ${file:…}' })

/** What a listener proves itself with. */
export const certificate = z.strictObject({
  cert: certificates.describe('PEM certificate chain, mostly ${file:/run/secrets/tls.crt}'),
  key: z
    .string()
    .includes('PRIVATE KEY-----', { message: 'must be a PEM private key, mostly by ${file:…}' })
    .describe('PEM private key'),
})
