import { z } from 'zod'
import { parseParty } from '../domain/principal.ts'
import { parseSelector } from '../domain/selector.ts'
import { certificates, duration } from '../platform/setting-kinds.ts'
import { isCleanText } from './clean-text.ts'

/**
 * The signature algorithms an issuer may be pinned to (RFC 7518, section 3.1; RFC 8037; RFC 9864). All are asymmetric:
 * with a symmetric one, whoever can check a token could also make one.
 */
const ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

/** Whether a URL can be trusted to reach who it names: https, or http that does not leave the machine. */
export function isTrustworthyUrl(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname))
}

const text = z
  .string()
  .refine((value) => isCleanText(value, 512), 'must be 1 to 512 characters without control characters')

const endpoint = z
  .string()
  .refine((value) => URL.canParse(value), 'must be a URL')
  .refine((value) => !URL.canParse(value) || isTrustworthyUrl(new URL(value)), 'must be https (http on loopback only)')

// The bar separates issuer and subject in the written form of a party, so that an issuer must not hold one.
const issuerUrl = endpoint.refine(
  (value) => /^[^\s|?#@]+$/.test(value),
  'must have no query, fragment, credentials, bar or space',
)

function isJsonObject(value: string): boolean {
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
  } catch {
    return false
  }
}

const party = z.string().refine((value) => isCleanText(value, 1024) && parseParty(value) !== null, {
  message: 'must be "issuer|subject"',
})

const claimPath = z.union([text, z.array(text).min(1).max(5)])

const groups = z
  .strictObject({
    claim: claimPath.optional().describe('The claim that lists the groups; a list of names walks into nested objects'),
    map: z
      .record(party, z.array(text).max(100))
      .optional()
      .describe('Groups by identity, written "issuer|subject"; they are added to those of the claim'),
  })
  .refine((value) => value.claim !== undefined || value.map !== undefined, 'needs a claim or a map')

const common = {
  issuer: issuerUrl.describe('The issuer, exactly as the `iss` claim has it, with or without a trailing slash'),
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/, 'must be letters, digits, dots, colons and dashes')
    .optional()
    .describe('Short name, as in `group:okta/finance`; the host of the issuer if left out'),
  algorithms: z
    .array(z.enum(ALGORITHMS))
    .min(1)
    .default(['RS256', 'ES256', 'EdDSA'])
    .describe('Signature algorithms this issuer uses; any other is refused'),
  subject: z
    .array(text)
    .min(1)
    .max(4)
    .default(['sub'])
    .describe('The claims that together name the subject, joined by a slash; for Entra ID [tid, oid]'),
  groups: groups.optional().describe('Where the groups come from; without it there are none'),
  require: z
    .record(text, z.union([text, z.boolean(), z.number()]))
    .optional()
    .describe('Claims that must have exactly this value, for issuers that anybody can get a token of'),
  typ: text.optional().describe('The `typ` header that tokens must carry, for example at+jwt (RFC 9068)'),
  discovery: endpoint.optional().describe('URL of the discovery document, where it is not under the issuer'),
  jwks_uri: endpoint.optional().describe('URL of the key set; then nothing is discovered'),
  ca: certificates
    .optional()
    .describe('PEM certificates that the issuer’s TLS is checked against, in place of the system’s'),
}

/** One entry of `agent_issuers`: whose tokens are agents. */
export const agentIssuerOptions = z.strictObject({
  ...common,
  audiences: z
    .array(text)
    .min(1)
    .max(20)
    .describe('The audiences of tokens for this gateway; a token with any other audience beside is refused'),
  acts_for: z
    .strictObject({
      claim: text.describe('The claim that names the actor, `act` in RFC 8693; its actors are nested'),
      subject: z
        .array(text)
        .min(1)
        .max(4)
        .optional()
        .describe('The claims that name an actor; those of its issuer if left out'),
      issuer: issuerUrl
        .optional()
        .describe(
          'The `people` issuer that knows those who are acted for by the same subject; this issuer if left out',
        ),
    })
    .optional()
    .describe('Delegation; without it a token that names an actor in `act` is refused'),
  owner: z
    .union([
      z.strictObject({ claim: claimPath.describe('The claim: "issuer|subject", or an object with `iss` and `sub`') }),
      z.strictObject({
        map: z
          .record(text, party)
          .describe(
            'From the agent’s subject (an actor of another issuer: "issuer|subject") to its owner, "issuer|subject"',
          ),
      }),
      z.literal('none'),
    ])
    .describe('Who answers for an agent: a claim, a map, or `none`, which leaves subject and actors as the closure'),
})

const roleSelectors = z
  .array(z.string().refine((value) => parseSelector(value) !== null, 'must be `group:name` or `issuer|subject`'))
  .max(100)

const narrowSelectors = roleSelectors.refine((list) => !list.includes('*'), 'must not be everybody')

/**
 * What a browser's sign-in may ask an identity provider for beyond OpenID Connect's own (Core, section 3.1.2.1). A list,
 * so that nothing here replaces what the sign-in is checked by: state, nonce, code challenge, redirect URI, max_age.
 */
const browserParameters = z.strictObject({
  access_type: z.enum(['offline', 'online']).optional().describe('Google: `offline` asks for a refresh token'),
  prompt: z
    .string()
    .regex(/^(login|consent|select_account)( (login|consent|select_account))*$/, {
      message: 'must be login, consent or select_account, or several of them',
    })
    .optional()
    .describe('What is asked at each sign-in; `consent` where a second refresh token takes one more consent'),
  claims: text
    .refine(isJsonObject, 'must be a JSON object')
    .optional()
    .describe('Claims that are told only if they are asked for, as JSON (OpenID Connect Core, section 5.5)'),
  acr_values: text
    .optional()
    .describe('How to authenticate, in the provider’s words; demand it with `require: {acr: …}`'),
  hd: text.optional().describe('Google: the domain whose accounts are offered; demand it with `require: {hd: …}`'),
  domain_hint: text.optional().describe('Entra ID: the domain whose sign-in is gone to straight away'),
  idp: text.optional().describe('Okta: the identity provider behind it that is gone to straight away'),
  kc_idp_hint: text.optional().describe('Keycloak: the identity provider behind it that is gone to straight away'),
})

/** One entry of `people`: whose tokens are reviewers; also the console's sign-in. */
export const peopleIssuerOptions = z.strictObject({
  ...common,
  audience: text.describe('The audience of reviewers’ tokens; never one of any agents’ audiences'),
  client_id: text.describe('The OAuth client of the console’s sign-in'),
  client_secret: text.optional().describe('Its secret; left out for a public client with PKCE'),
  authorized_parties: z
    .array(text)
    .min(1)
    .max(20)
    .describe('The OAuth clients (`azp` or `client_id`) through which people may sign in'),
  read_client_id: text
    .optional()
    .describe('Another OAuth client, whose tokens list and show only: what `countersign login` keeps cannot vote'),
  sign_in: z
    .strictObject({
      scope: text.default('openid').describe('The scope that the command line asks for'),
      browser_scope: text
        .default('openid profile offline_access')
        .describe(
          'The scope that the console asks for; with a refresh token groups stay fresh without another sign-in',
        ),
      parameters: z
        .record(z.string(), z.string())
        .default({})
        .describe(
          'What else the command line sends, for example `resource` or `audience`, so that the token has the audience above',
        ),
      browser_parameters: browserParameters
        .prefault({})
        .describe('What else the console sends: these parameters and no others'),
    })
    .prefault({})
    .describe('How people sign in: with the command line (device flow, RFC 8628) and with a browser'),
  roles: z
    .strictObject({
      admin: narrowSelectors.default([]).describe('Sees every agent, suspends and resumes; never `*`'),
      auditor: roleSelectors.default([]).describe('Sees every approval; votes only where a rule names them'),
      operator: narrowSelectors.default([]).describe('Sees every agent, suspends and resumes; never `*`'),
    })
    .prefault({})
    .describe('Who has which role; everybody who signs in is a reviewer'),
  managers: z
    .record(text, party)
    .default({})
    .describe(
      'From a person’s subject to their manager, "issuer|subject": whom `reviewers: [manager]` asks for the agents they own',
    ),
})

export const agentIssuersOptions = z.array(agentIssuerOptions).max(50)
export const peopleOptions = z.array(peopleIssuerOptions).max(20)

export type AgentIssuer = z.output<typeof agentIssuerOptions>
export type PeopleIssuer = z.output<typeof peopleIssuerOptions>
/** What both have in common: whom to trust, and how its tokens name people and groups. */
export type IssuerOptions = Pick<AgentIssuer & PeopleIssuer, keyof typeof common>

/** `gateway.credentials:` in countersign.yaml. */
export const mintingOptions = z
  .strictObject({
    lifetime: duration
      .optional()
      .describe('How long one is good for; left out: 1h, or session_max where that is shorter'),
    per_principal: z
      .int()
      .min(0)
      .max(10_000)
      .default(100)
      .describe('How many one agent may have at one time; 0: none are made, and none are good any more'),
  })
  .prefault({})
  .describe('Users and passwords that are minted for agents whose clients cannot renew a token')

const HOUR_MS = 3_600_000

/** In milliseconds. */
export function mintedLifetime({ lifetime }: z.output<typeof mintingOptions>, sessionMaxMs: number): number {
  return lifetime ?? Math.min(HOUR_MS, sessionMaxMs)
}
