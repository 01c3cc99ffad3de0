import { randomUUID } from 'node:crypto'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { generateKeys } from '../../src/platform/load-keys.ts'
import { makeKey, sign, startIssuer } from '../identity/issuer.ts'
import { type Replica, startReplica } from './replica.ts'
import { startRecordingUpstream } from './upstream.ts'

export const GATEWAY_URL = 'https://gateway.example.com'
const CONSOLE = 'countersign-console'
const WAIT_MS = 20_000
const LOOK_MS = 200

/** Reads pass, and what is posted is held for so many people of finance. */
export function policyOf({ quorum }: { quorum: number }): string {
  return `
name: billing
rules:
  - { name: reads, upstreams: [billing], verbs: [GET], effect: allow }
  - name: refunds
    upstreams: [billing]
    verbs: [POST]
    effect: hold
    approval: { reviewers: ["group:finance"], quorum: ${quorum} }
`
}

export interface ReplicaOptions {
  /** Another way to the store than the world's own. */
  readonly storeUrl?: string
  /** `hold:` and other top-level keys, over the usual ones. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Whether npm starts it, and gets its signals. */
  readonly isByNpm?: boolean
  /** Goes on in the data directory of one that has ended. */
  readonly after?: Replica
}

export interface Shown {
  readonly id: string
  readonly state: string
  readonly card_hash: string
}

export type World = Awaited<ReturnType<typeof startWorld>>

/**
 * One deployment: an issuer of agents and people, an upstream that writes down what reaches it, a store, and as many
 * gateways on that store as are started.
 */
export async function startWorld(store: { adminUrl: string; url: string }) {
  await using undo = new AsyncDisposableStack()
  const directory = await mkdtemp(join(tmpdir(), 'countersign-e2e-'))
  undo.defer(() => rm(directory, { recursive: true, force: true }))
  const key = await makeKey('ES256', 'key-1')
  const issuer = await startIssuer([key.jwk])
  undo.defer(() => issuer.close())
  const upstream = await startRecordingUpstream(join(directory, 'upstream.jsonl'))
  undo.defer(() => upstream.close())
  const admin = new pg.Pool({ connectionString: store.adminUrl, max: 4 })
  admin.on('error', () => undefined)
  undo.defer(() => admin.end())
  const keys = generateKeys()
  const policies = join(directory, 'policies')
  await mkdir(policies)
  const writePolicy = (text: string) => writeFile(join(policies, 'billing.yaml'), text)
  await writePolicy(policyOf({ quorum: 1 }))
  const replicas: Replica[] = []
  undo.defer(async () => {
    await Promise.all(replicas.map((replica) => replica.kill()))
  })

  function claims(subject: string, lifetimeS: number) {
    const nowS = Math.floor(Date.now() / 1000)
    return { iss: issuer.url, sub: subject, iat: nowS, exp: nowS + lifetimeS, jti: randomUUID() }
  }

  function agentToken(subject = 'support-agent'): Promise<string> {
    return sign(key, { ...claims(subject, 3600), aud: GATEWAY_URL, owner: { iss: issuer.url, sub: 'olivia' } })
  }

  function personToken(subject: string, groups: readonly string[] = ['finance'], more: object = {}): Promise<string> {
    return sign(key, { ...claims(subject, 3600), aud: CONSOLE, azp: CONSOLE, groups, ...more })
  }

  function configOf(name: string, { storeUrl, config = {} }: ReplicaOptions) {
    return {
      gateway: { listen: '127.0.0.1:0', public_url: GATEWAY_URL },
      control: { listen: '127.0.0.1:0', public_url: 'https://approvals.example.com' },
      store: { url: storeUrl ?? store.url },
      data_dir: join(directory, name),
      keys,
      agent_issuers: [{ issuer: issuer.url, name: 'idp', audiences: [GATEWAY_URL], owner: { claim: 'owner' } }],
      people: [
        {
          issuer: issuer.url,
          name: 'idp',
          audience: CONSOLE,
          client_id: CONSOLE,
          authorized_parties: [CONSOLE],
          groups: { claim: 'groups' },
        },
      ],
      upstreams: [{ name: 'billing', protocol: 'http', url: upstream.url }],
      policies,
      hold: { wait: '30s' },
      ...config,
    }
  }

  /** Writes a replica's configuration and data directory; a later replica gets the head that an earlier one signed. */
  async function prepare(options: ReplicaOptions = {}): Promise<{ configFile: string; dataDir: string }> {
    const name = `replica-${randomUUID()}`
    const config = configOf(name, options)
    if (options.after) config.data_dir = options.after.dataDir
    const configFile = join(directory, `${name}.yaml`)
    // JSON is YAML.
    await writeFile(configFile, JSON.stringify(config), { mode: 0o600 })
    await mkdir(config.data_dir, { recursive: true, mode: 0o700 })
    const [sibling] = replicas
    if (sibling && !options.after) {
      await eventually(() => copyFile(join(sibling.dataDir, 'head.json'), join(config.data_dir, 'head.json')))
    }
    return { configFile, dataDir: config.data_dir }
  }

  async function start(options: ReplicaOptions = {}): Promise<Replica> {
    const replica = await startReplica(await prepare(options), options)
    replicas.push(replica)
    return replica
  }

  /** The first row of a query as the superuser; asked again until there is one. */
  async function until<Row extends pg.QueryResultRow = Record<string, unknown>>(
    sql: string,
    params: readonly unknown[] = [],
  ): Promise<Row> {
    for (const deadline = Date.now() + WAIT_MS; ; ) {
      const { rows } = await admin.query<Row>(sql, [...params])
      if (rows[0]) return rows[0]
      if (Date.now() > deadline) throw new Error(`never true: ${sql} ${JSON.stringify(params)}`)
      await sleep(20)
    }
  }

  /** The approval that was opened for a path, once it is there. */
  async function approvalOf(path: string, state = 'pending'): Promise<string> {
    const { id } = await until<{ id: string }>(
      'SELECT id FROM countersign.approval WHERE resource = $1 AND state = $2 ORDER BY created_at DESC LIMIT 1',
      [path, state],
    )
    return id
  }

  /** A call of an agent. Without `wait` it waits as long as the gateway lets it. */
  async function call(
    replica: Replica,
    path: string,
    how: {
      method?: string
      token?: string
      body?: string
      headers?: Record<string, string>
      signal?: AbortSignal
    } = {},
  ): Promise<Response> {
    const { method = 'POST', token = await agentToken(), body = '{"amount":500}', headers = {}, signal } = how
    return fetch(`${replica.url}/billing${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
      ...(method !== 'GET' && { body }),
      ...(signal && { signal }),
    })
  }

  /** Makes a held call whose client leaves as soon as it is held; its approval. */
  async function abandon(replica: Replica, path: string): Promise<string> {
    const leaving = new AbortController()
    const left = call(replica, path, { signal: leaving.signal }).catch(() => null)
    const id = await approvalOf(path)
    leaving.abort()
    await left
    return id
  }

  async function vote(
    replica: Replica,
    id: string,
    {
      as = 'finn',
      token,
      decision = 'approve',
      more = {},
    }: {
      as?: string
      token?: string
      decision?: 'approve' | 'deny' | 'override'
      /** What else is sent with it. */
      more?: object
    } = {},
  ): Promise<Response> {
    const authorization = `Bearer ${token ?? (await personToken(as))}`
    const shown = await fetch(`${replica.control}/v1/approvals/${id}`, { headers: { authorization } })
    if (!shown.ok) return shown
    const { approval } = (await shown.json()) as { approval: Shown }
    return fetch(`${replica.control}/v1/approvals/${id}/${decision}`, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ card_hash: approval.card_hash, ...more }),
    })
  }

  /** Approves, and throws unless the vote counted. */
  async function approve(replica: Replica, id: string, as = 'finn'): Promise<void> {
    const response = await vote(replica, id, { as })
    if (!response.ok) throw new Error(`the vote did not count: ${response.status} ${await response.text()}`)
  }

  const stack = undo.move()
  return {
    directory,
    writePolicy,
    store,
    keys,
    upstream,
    admin,
    issuer: issuer.url,
    agentToken,
    personToken,
    prepare,
    start,
    until,
    approvalOf,
    call,
    abandon,
    arrivals: (path: string) => upstream.received().filter((one) => one.path === path).length,
    vote,
    approve,
    readyz: async (replica: Replica) => {
      const response = await fetch(`${replica.url}/readyz`)
      return { status: response.status, text: await response.text() }
    },
    /** Two gateways, the second with the head that the first one signed. */
    startPair: async (): Promise<readonly [Replica, Replica]> => [await start(), await start()],
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Tries again what throws, until it does not. */
export async function eventually<T>(work: () => Promise<T>): Promise<T> {
  for (const deadline = Date.now() + WAIT_MS; ; ) {
    try {
      return await work()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await sleep(LOOK_MS)
    }
  }
}

/** The members of a problem (RFC 9457) that tests look at. */
export interface Problem {
  readonly code?: string
  readonly approval?: string
  readonly status_url?: string
}

export async function problemOf(response: Response): Promise<Problem & { status: number }> {
  const text = await response.text()
  try {
    // Problems are flat objects of text.
    return { ...(JSON.parse(text) as Problem), status: response.status }
  } catch {
    return { status: response.status, code: `not a problem: ${text.slice(0, 200)}` }
  }
}
