import { z } from 'zod'
import { credentialOptions } from '../../credentials/options.ts'
import { duration, size } from '../../platform/setting-kinds.ts'
import { upstreamOptions } from '../../transports/upstream-options.ts'
import { isHeaderPattern } from './headers.ts'

const url = z.string().transform((text, context) => {
  const parsed = URL.canParse(text) ? new URL(text) : null
  const fault =
    parsed === null || !/^https?:$/.test(parsed.protocol)
      ? 'must be an http or https URL'
      : parsed.username !== '' || parsed.password !== ''
        ? 'must not hold a user or a password: those belong under credential'
        : parsed.search !== '' || parsed.hash !== '' || text.includes('?') || text.includes('#')
          ? 'must have neither a query nor a fragment'
          : /%|;|\/\/|\/\.\.?(\/|$)/.test(parsed.pathname) || /\/\.\.?(\/|$)/.test(text.replace(/^[^:]*:\/\//, ''))
            ? 'must have a plain path'
            : null
  if (fault === null && parsed !== null) return parsed
  context.addIssue({ code: 'custom', message: fault ?? 'must be a URL' })
  return z.NEVER
})

const MIB = 1024 * 1024

/** The keys of an upstream with `protocol: http`. */
export const httpOptions = z.strictObject({
  name: upstreamOptions.name.describe('Its name in policies and entries, and its path on the gateway: /<name>/…'),
  protocol: z.literal('http').describe('Any HTTP/1.1 API'),
  url: url.describe('Where it is; a path is put before every request’s own'),
  host: z
    .string()
    .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/, 'must be a host name without a port')
    .optional()
    .describe('Routes requests with this Host header here, instead of by path'),
  mode: upstreamOptions.mode,
  credential: credentialOptions.optional(),
  headers: z
    .strictObject({
      allow: z
        .array(
          z.string().refine(isHeaderPattern, 'must be a header name, with at most one * at its end; never * alone'),
        )
        .max(64)
        .default([])
        .describe('Request headers to pass besides the usual ones, such as X-GitHub-*'),
    })
    .prefault({})
    .describe('Which request headers pass'),
  labels: upstreamOptions.labels,
  wait: upstreamOptions.wait,
  timeouts: z
    .strictObject({
      connect: duration.prefault('5s').describe('To connect, TLS included'),
      response: duration.prefault('5m').describe('From the end of a request to the head of its response'),
      idle: duration.prefault('5m').describe('Between two pieces of a body'),
      upgraded: duration.prefault('8h').describe('The longest a connection may last after an upgrade'),
    })
    .prefault({})
    .describe('How long the upstream may take'),
  ca: upstreamOptions.ca,
  max_body: size
    .prefault('1MiB')
    .refine((bytes) => bytes <= 64 * MIB, 'must be at most 64MiB')
    .describe('The largest body that is read to be judged or held; others stream through unread'),
  assertion: z
    .boolean()
    .default(true)
    .describe('Sends Countersign-Assertion with every request; costs one signature a call'),
})

export type HttpOptions = z.output<typeof httpOptions>
