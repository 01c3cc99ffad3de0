import { z } from 'zod'
import { loginOptions } from '../../credentials/options.ts'
import { certificate, duration, place, size } from '../../platform/setting-kinds.ts'
import { upstreamOptions } from '../../transports/upstream-options.ts'

const MIB = 1024 * 1024
const DEFAULT_PORT = 5432

/** Host, port and perhaps a database of a URL as libpq has them (PostgreSQL 18, section 32.1.1.2). */
const url = z.string().transform((text, context) => {
  const parsed = URL.canParse(text) ? new URL(text) : null
  const fault =
    parsed === null || !/^postgres(?:ql)?:$/.test(parsed.protocol) || parsed.hostname === ''
      ? 'must be a URL like postgres://db.internal:5432/shop'
      : parsed.username !== '' || parsed.password !== ''
        ? 'must not hold a user or a password: those belong under credential'
        : parsed.search !== '' || parsed.hash !== '' || text.includes('?') || text.includes('#')
          ? 'must have no parameters: sslmode is a key of its own'
          : !/^\/?[^/]*$/.test(parsed.pathname) || !isDecodable(parsed.pathname)
            ? 'must name one database, or none'
            : null
  if (fault === null && parsed !== null) {
    return {
      host: parsed.hostname.replace(/^\[|\]$/g, ''),
      port: parsed.port === '' ? DEFAULT_PORT : Number(parsed.port),
      database: decodeURIComponent(parsed.pathname.slice(1)) || null,
    }
  }
  context.addIssue({ code: 'custom', message: fault ?? 'must be a URL' })
  return z.NEVER
})

function isDecodable(text: string): boolean {
  try {
    return !decodeURIComponent(text).includes('\0')
  } catch {
    return false
  }
}

/** The keys of an upstream with `protocol: postgres`. */
export const postgresOptions = z.strictObject({
  name: upstreamOptions.name.describe('Its name in policies and entries'),
  protocol: z.literal('postgres').describe('PostgreSQL, on its own wire'),
  url: url.describe('Where it is; with a database in it, sessions can have no other'),
  listen: place.describe('host:port where agents’ clients connect to it'),
  tls: certificate
    .optional()
    .describe('Serves TLS there; left out: with the certificate of gateway.tls, if it has one'),
  sslmode: z
    .enum(['verify-full', 'disable'])
    .default('verify-full')
    .describe('verify-full speaks TLS with it, and verifies who it is; disable is for a network that is trusted'),
  mode: upstreamOptions.mode,
  credential: loginOptions.optional(),
  preview_role: z
    .string()
    .min(1)
    .max(63)
    .optional()
    .describe(
      'A role that may only read, which the role of credential is a member of: rows are counted with its rights',
    ),
  labels: upstreamOptions.labels,
  wait: upstreamOptions.wait,
  timeouts: z
    .strictObject({ connect: duration.prefault('5s').describe('To connect, TLS and login included') })
    .prefault({})
    .describe('How long the upstream may take'),
  ca: upstreamOptions.ca,
  max_batch: size
    .prefault('4MiB')
    .refine((bytes) => bytes <= 64 * MIB, 'must be at most 64MiB')
    .describe('The largest batch of messages that is judged; data of COPY streams'),
  max_result: size
    .prefault('8MiB')
    .refine((bytes) => bytes <= 64 * MIB, 'must be at most 64MiB')
    .describe('The largest answer to a query by HTTP, as JSON'),
  sessions: z
    .strictObject({
      total: z.int().min(1).max(100_000).default(1000).describe('Of everybody'),
      per_principal: z.int().min(1).max(100_000).default(100).describe('Of one agent'),
    })
    .prefault({})
    .describe('Sessions open at one time, each with one upstream'),
})

export type PostgresOptions = z.output<typeof postgresOptions>
