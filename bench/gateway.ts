import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import type { KeysConfig } from '../src/platform/load-keys.ts'
import type { Issuer } from './issuer.ts'
import { policyOf } from './policy.ts'
import { awaitLine, launch, type Program } from './process.ts'

export const AGENTS = 'https://gateway.example.com'
export const PEOPLE = 'countersign-console'
const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
const PROBE = fileURLToPath(new URL('./heap-probe.ts', import.meta.url))

export interface Gateway extends Program {
  /** Where agents reach it. */
  readonly port: number
  /** Where agents reach the database, if there is one. */
  readonly sqlPort: number | null
  /** Where people do. */
  readonly controlUrl: string
  readonly directory: string
}

export interface GatewayOptions {
  /** Its configuration, policies and data; made if it is not there. */
  readonly directory: string
  readonly issuer: Issuer
  readonly upstreamPort: number
  readonly rules: number
  /** The URL of a database, with user and password, that is served as well. */
  readonly sqlUrl?: string
  /** A store that it shares, and its keys; left out: an embedded Postgres of its own. */
  readonly shared?: { readonly url: string; readonly keys: KeysConfig }
  /** Whether it can be asked for the size of its heap. */
  readonly isProbed?: boolean
  /** Options of Node, for profiling. */
  readonly nodeOptions?: readonly string[]
}

/** Starts a gateway as `serve` does, and waits until it serves. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { directory, isProbed = false, nodeOptions = [] } = options
  await mkdir(join(directory, 'policies'), { recursive: true, mode: 0o711 })
  await writeFile(
    join(directory, 'policies', 'bench.yaml'),
    stringify(policyOf(options.rules, options.sqlUrl !== undefined), { aliasDuplicateObjects: false }),
  )
  const config = join(directory, 'countersign.yaml')
  await writeFile(config, stringify(configOf(options), { aliasDuplicateObjects: false }))
  const logFile = join(directory, 'gateway.log')
  const flags = isProbed ? ['--expose-gc', '--import', PROBE] : []
  const program = launch({
    command: process.execPath,
    args: [...flags, ...nodeOptions, MAIN, 'serve', '--config', config],
    logFile,
    hasChannel: isProbed,
  })
  try {
    const addresses = await awaitLine(program, readServing, logFile)
    return { ...program, ...addresses, directory }
  } catch (error) {
    await program.stop()
    throw error
  }
}

function readServing(line: string): Pick<Gateway, 'port' | 'sqlPort' | 'controlUrl'> | null {
  if (!line.includes('countersign is serving')) return null
  const { gateway, control, upstreams } = JSON.parse(line)
  const sqlPort = upstreams ? Number(upstreams.orders.split(':')[1]) : null
  return { port: Number(new URL(gateway).port), sqlPort, controlUrl: control }
}

function sqlUpstream(sqlUrl: string) {
  const { host, pathname, username, password } = new URL(sqlUrl)
  return {
    name: 'orders',
    protocol: 'postgres',
    url: `postgres://${host}${pathname}`,
    listen: '127.0.0.1:0',
    sslmode: 'disable',
    sessions: { total: 10_000, per_principal: 10_000 },
    credential: { basic: { user: decodeURIComponent(username), password: decodeURIComponent(password) } },
    labels: { environment: 'production', data: 'customer' },
  }
}

function configOf({ issuer, upstreamPort, shared, sqlUrl }: GatewayOptions) {
  const trusted = {
    issuer: issuer.issuer,
    name: 'bench',
    jwks_uri: issuer.keySetUrl,
    algorithms: ['RS256'],
    groups: { claim: 'groups' },
  }
  return {
    gateway: { listen: '127.0.0.1:0', public_url: AGENTS },
    control: { listen: '127.0.0.1:0', public_url: 'https://approvals.example.com' },
    data_dir: 'data',
    agent_issuers: [{ ...trusted, audiences: [AGENTS], owner: { claim: 'owner' } }],
    people: [{ ...trusted, audience: PEOPLE, client_id: PEOPLE, authorized_parties: [PEOPLE] }],
    upstreams: [
      {
        name: 'billing',
        protocol: 'http',
        url: `http://127.0.0.1:${upstreamPort}`,
        credential: { bearer: 'the-upstreams-own-secret' },
        labels: { environment: 'production', data: 'customer' },
      },
      ...(sqlUrl === undefined ? [] : [sqlUpstream(sqlUrl)]),
    ],
    // What the load is to be measured by, and not by these.
    hold: { wait: '10m', expires: '30m', open_per_principal: 10_000, held_bytes: '1GiB' },
    rate: { per_principal: '9999999/s', open_per_principal: 10_000 },
    ...(shared && { store: { url: shared.url }, keys: shared.keys }),
  }
}

/** What a gateway that is probed uses after a full collection. */
export function memoryOf({ child }: Gateway): Promise<NodeJS.MemoryUsage> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the gateway did not say how much memory it uses')), 30_000)
    child.once('message', (usage: NodeJS.MemoryUsage) => {
      clearTimeout(timer)
      resolve(usage)
    })
    child.send('measure')
  })
}

/** A token of an agent, the size that identity providers make them. */
export function agentToken(issuer: Issuer, subject: string): Promise<string> {
  return issuer.sign({
    sub: subject,
    aud: AGENTS,
    client_id: 'support-agent',
    groups: ['support-agents', 'customer-care', 'emea'],
    owner: `${issuer.issuer}|olivia`,
  })
}

export function personToken(issuer: Issuer, subject: string): Promise<string> {
  return issuer.sign({ sub: subject, aud: PEOPLE, azp: PEOPLE, groups: ['finance'], name: subject })
}

/** A request as the load generator sends it. */
export function requestBytes({ path, token }: { path: string; token: string | null }): string {
  const head = [
    `GET ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    'accept: application/json',
    'user-agent: bench/1',
    ...(token === null ? [] : [`authorization: Bearer ${token}`]),
  ]
  return `${head.join('\r\n')}\r\n\r\n`
}
