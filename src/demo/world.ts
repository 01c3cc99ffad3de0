import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stringify } from 'yaml'
import { type Child, startChild } from './child.ts'
import { MAIN } from './command-line.ts'
import { CONSOLE, READER } from './company.ts'
import { endLeftover } from './leftover.ts'
import { findFreePorts } from './ports.ts'
import type { World } from './story.ts'
import { startUpstream } from './upstream.ts'

export interface RunningWorld extends World, AsyncDisposable {
  readonly configFile: string
}

const DEMO = fileURLToPath(new URL('main.ts', import.meta.url))
const POLICY = fileURLToPath(new URL('../../policies/billing.yaml', import.meta.url))

/** Where people would look first; taken only if they are free. */
const WELL_KNOWN_PORTS = { gateway: 8080, control: 8081, identityProvider: 8082 } as const
const ANY_PORTS = { gateway: null, control: null, identityProvider: null } as const

interface WorldOptions {
  readonly hasWellKnownPorts: boolean
  readonly signal: AbortSignal
  /** How a browser calls this machine: browsers make passkeys for a name, and none for an address. */
  readonly consoleHost?: string
  /** In place of the one that ships. */
  readonly policy?: string
  /** Further keys of the configuration. */
  readonly config?: object
}

/** Starts the upstream in this process, and the identity provider and the gateway in processes of their own. */
export async function startWorld(
  directory: string,
  { hasWellKnownPorts, signal, consoleHost = '127.0.0.1', policy, config: more = {} }: WorldOptions,
): Promise<RunningWorld> {
  await using undo = new AsyncDisposableStack()
  const ports = await findFreePorts<keyof typeof ANY_PORTS>(hasWellKnownPorts ? WELL_KNOWN_PORTS : ANY_PORTS)
  const gatewayUrl = `http://127.0.0.1:${ports.gateway}`
  const controlUrl = `http://${consoleHost}:${ports.control}`
  const issuer = `http://127.0.0.1:${ports.identityProvider}`
  const agentSecret = newSecret()
  const upstreamToken = newSecret()
  const upstream = await startUpstream({ token: upstreamToken, host: '127.0.0.1', port: 0 })
  undo.defer(() => upstream.close())

  const at = (name: string): string => join(directory, name)
  await endLeftover(at('gateway.pid'), at('countersign.yaml'))
  await writePrivately(at('agent-secret'), agentSecret)
  await writePrivately(at('upstream-token'), upstreamToken)
  await rm(at('policies'), { recursive: true, force: true })
  await mkdir(at('policies'), { mode: 0o700 })
  await writePrivately(at('policies/billing.yaml'), policy ?? (await readFile(POLICY, 'utf8')))
  const config = configOf({
    gatewayUrl,
    controlUrl,
    issuer,
    upstreamUrl: upstream.url,
    tokenFile: at('upstream-token'),
  })
  await writePrivately(at('countersign.yaml'), stringify({ ...config, ...more }))

  const start = async (child: Parameters<typeof startChild>[0]): Promise<Child> => {
    const started = await startChild(child)
    undo.defer(() => started.end())
    return started
  }
  const provider = await start({
    name: 'the identity provider',
    args: [
      DEMO,
      'identity-provider',
      ...['--listen', `127.0.0.1:${ports.identityProvider}`, '--gateway', gatewayUrl, '--control', controlUrl],
      ...['--agent-secret-file', at('agent-secret')],
    ],
    logPath: at('identity-provider.log'),
    hasChannel: true,
  })
  const gateway = await start({
    name: 'the gateway',
    args: [MAIN, 'serve', '--config', at('countersign.yaml')],
    logPath: at('gateway.log'),
  })
  await writePrivately(at('gateway.pid'), `${gateway.pid}`)
  await provider.ready(() => isServed(`${issuer}/.well-known/openid-configuration`), signal)
  await gateway.ready(() => isServed(`${gatewayUrl}/readyz`), signal)

  const running = undo.move()
  return {
    gatewayUrl,
    controlUrl,
    issuer,
    upstreamUrl: upstream.url,
    agentSecret,
    configFile: at('countersign.yaml'),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

interface Places {
  readonly gatewayUrl: string
  readonly controlUrl: string
  readonly issuer: string
  readonly upstreamUrl: string
  readonly tokenFile: string
}

function configOf({ gatewayUrl, controlUrl, issuer, upstreamUrl, tokenFile }: Places): object {
  return {
    gateway: { listen: new URL(gatewayUrl).host, public_url: gatewayUrl },
    control: { listen: `127.0.0.1:${new URL(controlUrl).port}`, public_url: controlUrl },
    data_dir: 'store',
    agent_issuers: [
      { issuer, name: 'demo', audiences: [gatewayUrl], groups: { claim: 'groups' }, owner: { claim: 'owner' } },
    ],
    people: [
      {
        issuer,
        name: 'demo',
        audience: CONSOLE,
        client_id: CONSOLE,
        authorized_parties: [CONSOLE],
        read_client_id: READER,
        groups: { claim: 'groups' },
        roles: { auditor: ['group:audit'], operator: ['group:operations'] },
        sign_in: { parameters: { resource: controlUrl } },
      },
    ],
    upstreams: [
      {
        name: 'billing',
        protocol: 'http',
        url: upstreamUrl,
        credential: { bearer: `\${file:${tokenFile}}` },
        labels: { environment: 'demo', data: 'customer' },
      },
    ],
    policies: 'policies/',
    drain: '2s',
  }
}

async function isServed(url: string): Promise<boolean> {
  return (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok
}

function newSecret(): string {
  return randomBytes(24).toString('base64url')
}

/** Made anew, so that what an earlier run left cannot lend its permissions. */
async function writePrivately(path: string, text: string): Promise<void> {
  await rm(path, { force: true })
  await writeFile(path, text, { mode: 0o600, flag: 'wx' })
}
