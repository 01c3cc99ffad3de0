import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'
import { holdOptions } from './approvals/options.ts'
import type { CredentialOptions } from './credentials/options.ts'
import { GatewayError } from './domain/error.ts'
import { checkIssuers } from './identity/check-issuers.ts'
import { agentIssuersOptions, isTrustworthyUrl, mintingOptions, peopleOptions } from './identity/options.ts'
import { findKeyFaults } from './platform/load-keys.ts'
import { certificate, duration, type Place, place } from './platform/setting-kinds.ts'
import { formatProblem, type Problem, parseYaml } from './platform/yaml.ts'
import { rateOptions } from './policy/options.ts'

/** What a protocol or a channel adds to the configuration: its name, and the keys it understands. */
export interface Part {
  readonly name: string
  readonly options: z.ZodObject
}

const publicUrl = z
  .url({ protocol: /^https?$/ })
  .refine((text) => !URL.canParse(text) || isTrustworthyUrl(new URL(text)), 'must be https, or http on loopback')
  .transform((text) => text.replace(/\/+$/, ''))

const listener = {
  tls: certificate.optional().describe('Serves TLS itself'),
  behind_tls_proxy: z
    .boolean()
    .default(false)
    .describe('Says that something in front ends TLS, so that a listener off loopback may speak plain HTTP'),
}

const keyPair = z.strictObject({
  kid: z.string().min(1).max(64).describe('Names the current key in what it signed or sealed'),
  current: z
    .string()
    .describe('32 bytes in base64url or hex (payload, mac, cookie); a PEM private key (assertion, checkpoint)'),
  previous: z
    .strictObject({
      kid: z.string().min(1).max(64).describe('Its name'),
      key: z.string().describe('In the form of current'),
    })
    .optional()
    .describe('The key before it: still accepted, no longer used'),
})

const keys = z.strictObject({
  payload: keyPair.describe('Encrypts held calls, cards and stored responses (AES-256-GCM)'),
  mac: keyPair.describe('Authenticates votes, policy sets and acknowledgements (HMAC-SHA-256)'),
  assertion: keyPair.describe('Signs Countersign-Assertion for upstreams (ES256 or EdDSA)'),
  cookie: keyPair.describe('Encrypts the sessions of people in a browser (AES-256-GCM)'),
  checkpoint: keyPair.describe('Signs statements of the log’s head (Ed25519)'),
})

/** The schema of countersign.yaml, put together from the options of each part. */
export function configSchema({ protocols, channels }: { protocols: readonly Part[]; channels: readonly Part[] }) {
  const upstreams = z.discriminatedUnion(
    'protocol',
    // Each protocol's options hold its own `protocol` literal; that there is at least one is main's to see to.
    protocols.map((part) => part.options) as unknown as [z.ZodObject, ...z.ZodObject[]],
  )
  return z.strictObject({
    gateway: z
      .strictObject({
        listen: place.prefault('127.0.0.1:8080').describe('host:port for agents'),
        public_url: publicUrl.describe(
          'How agents reach it: the issuer of assertions, the resource of RFC 9728, the base of status_url',
        ),
        keep_prompts: z
          .boolean()
          .default(false)
          .describe(
            'Reads Countersign-Prompt, shows it to reviewers as a claim and records it; left out, it is dropped',
          ),
        credentials: mintingOptions,
        ...listener,
      })
      .describe('What agents talk to'),
    control: z
      .strictObject({
        listen: place.prefault('127.0.0.1:8081').describe('host:port for people'),
        public_url: publicUrl.describe('How people reach it; links in cards lead there'),
        session: z
          .strictObject({
            lifetime: duration.prefault('8h').describe('After so long a person signs in again'),
            idle: duration.prefault('1h').describe('So do those who did nothing for so long'),
            fresh: duration
              .prefault('15m')
              .describe('How old groups may be: after so long the identity provider is asked again'),
          })
          .prefault({})
          .describe('Sessions of people in a browser'),
        ...listener,
      })
      .describe('What people talk to: the console, the approver API, callbacks of chat services'),
    metrics: z
      .strictObject({ listen: place.prefault('127.0.0.1:9464').describe('host:port of /metrics') })
      .optional()
      .describe('Prometheus metrics; left out: none'),
    store: z
      .strictObject({
        url: z.string().describe('postgres:// URL of the gateway’s login; every replica shares one store'),
        admin_url: z
          .string()
          .optional()
          .describe('URL of a login that may create roles and tables; read by `migrate` only'),
      })
      .optional()
      .describe('Postgres 15 or newer; left out: an embedded one under data_dir'),
    data_dir: z
      .string()
      .default('.countersign')
      .describe('Directory of the embedded Postgres, its keys and the log’s signed head, relative to this file'),
    keys: keys.optional().describe('Required with store.url; generated under data_dir otherwise'),
    agent_issuers: agentIssuersOptions.min(1).describe('Whose tokens are agents'),
    people: peopleOptions.default([]).describe('Whose tokens are reviewers'),
    upstreams: z.array(upstreams).min(1).describe('The protected systems'),
    policies: z.string().default('policies/').describe('Directory of the policy files, relative to this file'),
    channels: z
      .strictObject(Object.fromEntries(channels.map((part) => [part.name, part.options.optional()])))
      .default({})
      .describe('Where reviewers are told and can vote'),
    hold: holdOptions,
    rate: rateOptions,
    session_max: duration.prefault('8h').describe('The longest a stream or an upgraded connection may last'),
    drain: duration.prefault('30s').describe('How long calls under way may take to finish after SIGTERM'),
  })
}

/** What every protocol's options hold; the rest only the protocol itself knows. */
export interface UpstreamConfig {
  readonly name: string
  readonly protocol: string
  readonly mode: 'enforce' | 'observe'
  readonly labels: Readonly<Record<string, string>>
  readonly credential?: CredentialOptions | undefined
  /** Of a protocol that does not come in by the gateway listener. */
  readonly listen?: Place
  readonly tls?: object | undefined
}

export type Config = Omit<z.output<ReturnType<typeof configSchema>>, 'upstreams'> & {
  readonly upstreams: readonly UpstreamConfig[]
  /** The directory of the file: relative paths in it start there. */
  readonly directory: string
}

interface LoadOptions {
  readonly isForAdmin?: boolean
  readonly withKeys?: boolean
  readonly readsOnly?: 'all' | 'log' | 'policies'
}

const OF_A_GATEWAY = [['channels'], ['upstreams', '*', 'credential']]
const UNREAD: Readonly<Record<'all' | 'log' | 'policies', readonly (readonly string[])[]>> = {
  all: [],
  log: OF_A_GATEWAY,
  policies: [...OF_A_GATEWAY, ['store'], ['keys']],
}

/**
 * Reads, substitutes and checks countersign.yaml. `withKeys` also looks at what the keys are: whoever uses them does, and
 * what needs none (policies in a build, say) may be run without the real ones. `readsOnly` leaves out what holds secrets that
 * the caller has no use for, so that they need not be within its reach.
 *
 * @throws GatewayError `config` with one line a problem, each naming file and line; no value is ever in it.
 */
export function loadConfig(
  file: string,
  parts: { protocols: readonly Part[]; channels: readonly Part[] },
  { isForAdmin = false, withKeys = false, readsOnly = 'all' }: LoadOptions = {},
): Config {
  const path = resolve(file)
  const text = readConfigFile(path)
  const parsed = parseYaml(text, {
    file,
    schema: configSchema(parts),
    substitute: createSubstitution(dirname(path)),
    // The administrator's secret need not be within reach of what runs every day.
    leaveOut: [...(isForAdmin ? [] : [['store', 'admin_url']]), ...UNREAD[readsOnly]],
  })
  if (!parsed.ok) throw new GatewayError('config', parsed.problems.map(formatProblem).join('\n'))
  // The schema is made of the protocols' own, all of which hold these keys.
  const upstreams = parsed.value.upstreams as readonly object[] as readonly UpstreamConfig[]
  const config: Config = { ...parsed.value, upstreams, directory: dirname(path) }
  const isWithoutCredentials = readsOnly !== 'all'
  const faults = [
    ...checkConfig(config, isWithoutCredentials),
    ...(withKeys && config.keys ? findKeyFaults(config.keys) : []),
  ]
  const problems = faults.map(({ path: at, message }): Problem => ({ file, line: parsed.lineOf(at), message }))
  if (problems.length > 0) throw new GatewayError('config', problems.map(formatProblem).join('\n'))
  return config
}

function readConfigFile(path: string): string {
  try {
    if ((statSync(path).mode & 0o002) !== 0) {
      throw new GatewayError('config', `${path} can be written by everybody on this machine; chmod o-w it first`)
    }
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof GatewayError) throw error
    const code = error instanceof Error && 'code' in error ? error.code : null
    const why =
      code === 'ENOENT' ? 'no such file; `countersign init` writes a first one' : `cannot be read (${String(code)})`
    throw new GatewayError('config', `${path}: ${why}`, { cause: error })
  }
}

/** `${NAME}` and `${file:path}` are the only substitutions; what they stand for is never read again. */
function createSubstitution(directory: string): (value: string) => string {
  return (value) =>
    value.replace(/\$\{([^}]*)\}/g, (whole, name: string) => {
      if (name.startsWith('file:')) return readSecretFile(resolve(directory, name.slice('file:'.length)))
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new Error(`${whole} is neither \${NAME} nor \${file:/path}`)
      const found = process.env[name]
      if (found === undefined) throw new Error(`the environment variable ${name} is not set`)
      return found
    })
}

function readSecretFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (error) {
    throw new Error(`the file ${path} cannot be read`, { cause: error })
  }
}

const LOOPBACK_HOSTS = new Set(['127.0.0.1', '::1', 'localhost'])

/** What no single key can say. */
function checkConfig(config: Config, isWithoutCredentials: boolean): { path: PropertyKey[]; message: string }[] {
  const problems: { path: PropertyKey[]; message: string }[] = []
  for (const name of ['gateway', 'control'] as const) {
    const { listen: at, tls: own, behind_tls_proxy: isBehindProxy } = config[name]
    if (!LOOPBACK_HOSTS.has(at.host) && !own && !isBehindProxy) {
      const message = `${name}.listen is off loopback: it needs tls, or behind_tls_proxy: true`
      problems.push({ path: [name, 'listen'], message })
    }
  }
  for (const [index, { name, listen: at, tls: own, credential }] of config.upstreams.entries()) {
    if (at && !credential && !isWithoutCredentials) {
      const message = `${name} has no credential: its sessions begin with a login`
      problems.push({ path: ['upstreams', index], message })
    }
    if (at && !LOOPBACK_HOSTS.has(at.host) && !own && !config.gateway.tls) {
      const message = `${name}.listen is off loopback: it needs tls, its own or that of the gateway`
      problems.push({ path: ['upstreams', index, 'listen'], message })
    }
  }
  const { lifetime } = config.gateway.credentials
  if (lifetime !== undefined && lifetime > config.session_max) {
    const message = 'a minted credential may last no longer than a session: raise session_max, or lower this'
    problems.push({ path: ['gateway', 'credentials', 'lifetime'], message })
  }
  problems.push(...findShared(config))
  if (config.store && !config.keys) {
    problems.push({ path: ['store'], message: 'keys: is required with store.url, so that every replica has the same' })
  }
  const seen = new Set<unknown>()
  for (const [index, { name }] of config.upstreams.entries()) {
    if (seen.has(name))
      problems.push({ path: ['upstreams', index, 'name'], message: `there are two upstreams ${name}` })
    seen.add(name)
  }
  for (const message of checkIssuers(config.agent_issuers, config.people)) problems.push({ path: ['people'], message })
  return problems
}

const EVERY_HOST = new Set(['0.0.0.0', '::'])

/** Listeners that could not both be started. */
function findShared(config: Config): { path: PropertyKey[]; message: string }[] {
  const all: { name: string; at: Place; path: PropertyKey[] }[] = [
    { name: 'gateway.listen', at: config.gateway.listen, path: ['gateway', 'listen'] },
    { name: 'control.listen', at: config.control.listen, path: ['control', 'listen'] },
    ...(config.metrics
      ? [{ name: 'metrics.listen', at: config.metrics.listen, path: ['metrics', 'listen'] as PropertyKey[] }]
      : []),
    ...config.upstreams.flatMap(({ name, listen: at }, index) =>
      at ? [{ name: `listen of ${name}`, at, path: ['upstreams', index, 'listen'] }] : [],
    ),
  ]
  return all.flatMap(({ name, at, path }, index) => {
    const isTaken = ({ at: other }: { at: Place }) =>
      at.port !== 0 &&
      at.port === other.port &&
      (at.host === other.host || EVERY_HOST.has(at.host) || EVERY_HOST.has(other.host))
    const before = all.slice(0, index).find(isTaken)
    const message = `${name} is where ${before?.name} is: one of them needs another port`
    return before ? [{ path, message }] : []
  })
}

const NPM_WAYS: Readonly<Record<string, string>> = { countersign: 'npm run -s countersign --', npx: 'npx countersign' }

/** What the command line takes from the environment. Nothing else of the program reads it, but for substitutions. */
export function readEnvironment(): { configHome: string | undefined; controlUrl: string | null; typedAs: string } {
  return {
    configHome: process.env['XDG_CONFIG_HOME'],
    controlUrl: process.env['COUNTERSIGN_URL'] ?? null,
    typedAs: NPM_WAYS[process.env['npm_lifecycle_event'] ?? ''] ?? 'countersign',
  }
}
