import { z } from 'zod'

const secret = z
  .string()
  .min(1, 'must not be empty')
  .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'must be printable ASCII without spaces at its ends')

const account = z.strictObject({
  user: z
    .string()
    .regex(/^[\x21-\x39\x3b-\x7e]*$/, 'must be printable ASCII without a colon')
    .describe('Printable ASCII without a colon'),
  password: secret.describe('Printable ASCII'),
})

/** What the gateway logs in with, where a user and a password are all there is. */
export const loginOptions = z
  .strictObject({ basic: account.describe('A role of the upstream, and its password') })
  .describe('What the gateway presents to the upstream; needed')

/** What the gateway presents to an upstream. The agent never sees it. */
export const credentialOptions = z
  .union([
    z.strictObject({ bearer: secret.describe('Sent as Authorization: Bearer') }),
    z.strictObject({ basic: account.describe('Sent as Authorization: Basic (RFC 7617)') }),
    z.strictObject({
      header: z
        .strictObject({
          name: z
            .string()
            .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be a header name')
            .refine((name) => !NOT_A_CREDENTIAL.has(name.toLowerCase()), 'is not a header for a credential')
            .describe('Its name, for example X-Api-Key'),
          value: secret.describe('All of its value'),
        })
        .describe('Sent as a header of its own'),
    }),
  ])
  .describe('What the gateway presents to the upstream; left out: nothing')

export type CredentialOptions = z.output<typeof credentialOptions>

const NOT_A_CREDENTIAL = new Set([
  'connection',
  'content-length',
  'content-type',
  'countersign-assertion',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
