import { generateKeyPairSync } from 'node:crypto'
import pino from 'pino'
import { createAssertionSigner } from '../../../src/credentials/assertion.ts'
import { createInjector } from '../../../src/credentials/inject.ts'
import type { Actions } from '../../../src/domain/action.ts'
import type { Approval } from '../../../src/domain/approval.ts'
import type { Arrival, Credential, Exchange, Intent, Outcome, Release } from '../../../src/domain/call.ts'
import type { Principal } from '../../../src/domain/principal.ts'
import { isRefusal, refuse } from '../../../src/domain/refusal.ts'
import { newCallId } from '../../../src/platform/id.ts'
import { httpOptions } from '../../../src/protocols/http/options.ts'
import { type HttpParts, startHttp } from '../../../src/protocols/http/serve.ts'
import type { MalformedReason } from '../../../src/transports/http/malformed.ts'
import { createGatewayServer, type GatewayServerOptions } from '../../../src/transports/http/server.ts'

export const AGENT: Principal = {
  issuer: 'https://idp.test',
  subject: 'agent-7',
  onBehalfOf: null,
  actors: [],
  owner: { issuer: 'https://idp.test', subject: 'alice' },
  groups: [{ issuerName: 'idp', name: 'support-agents' }],
  client: 'agent-7',
  expiresAt: 4_000_000_000,
}

export const APPROVAL: Approval = {
  id: '7Q3FAAAAAA',
  state: 'spent',
  callId: 'call',
  requester: AGENT,
  upstream: 'billing',
  verb: 'POST',
  resource: '/refunds',
  rules: [],
  requirements: [],
  digest: '',
  cardHash: '',
  isDetached: false,
  createdAt: 0,
  expiresAt: 0,
  useBy: null,
  decidedAt: null,
  reason: null,
  votes: [],
}

/** What a test's stand-in for the gate decides about a call; it is judged by whatever `needs` it has. */
export interface Judge {
  readonly needs?: readonly string[]
  (call: Exchange, actions: Actions, release: (more?: Partial<Release>) => Promise<Outcome>): Promise<Outcome>
}

export interface Passed {
  readonly arrival: Arrival
  readonly credential: Credential
  readonly call: Exchange | null
  readonly actions: Actions | null
  readonly outcome: Outcome | null
  readonly error: unknown
}

export interface TestGateway {
  readonly port: number
  readonly url: string
  /** Calls that ended, oldest first. */
  readonly passed: Passed[]
  readonly malformed: { readonly source: string; readonly reason: MalformedReason }[]
  /** Resolves when so many calls have ended. */
  ended(count: number): Promise<Passed>
  readonly http: Awaited<ReturnType<typeof startHttp>>
  close(): Promise<void>
}

/** Forwards every call. */
export const allow: Judge = (_call, _actions, release) => release()

/** Forwards every call once its body was read. */
export const allowRead: Judge = Object.assign<Judge, { needs: string[] }>((_call, _actions, release) => release(), {
  needs: ['body'],
})

export const ALLOWED: Release['verdict'] = {
  effect: 'allow',
  basis: 'rule',
  rules: [],
  message: null,
  requirements: [],
  limits: [],
  masks: [],
  maxDurationMs: null,
  policyVersion: 1,
  decidingAction: 0,
}

/** A release as the gate would make one. Only the audit log makes an `Intent`; a test's has no other way. */
export function releaseOf(call: Exchange, more: Partial<Release> = {}): Release {
  const intent = { callId: call.id, seq: 1, epoch: 0 } as unknown as Intent
  return {
    intent,
    verdict: ALLOWED,
    approval: null,
    signal: new AbortController().signal,
    spendBytes: () => true,
    spendRows: () => true,
    ...more,
  }
}

export const keyPair = generateKeyPairSync('ed25519')

/** The HTTP protocol on a listener of its own, with a stand-in for the gate. */
export async function startGateway(
  judge: Judge,
  upstreams: readonly object[],
  more: Partial<GatewayServerOptions> &
    Pick<HttpParts, 'maxKeptBytes' | 'room'> &
    Partial<Pick<HttpParts, 'charge'>> = {},
): Promise<TestGateway> {
  const passed: Passed[] = []
  const malformed: TestGateway['malformed'] = []
  const waiters = new Set<() => void>()
  const log = pino({ level: 'silent' })
  const options = upstreams.map((upstream) => httpOptions.parse({ protocol: 'http', name: 'billing', ...upstream }))
  const server = createGatewayServer({
    host: '127.0.0.1',
    port: 0,
    tls: null,
    isBehindTlsProxy: false,
    log,
    newCallId,
    onMalformed: (source, reason) => malformed.push({ source, reason }),
    ...more,
  })
  const note = (entry: Passed) => {
    passed.push(entry)
    for (const waiter of waiters) waiter()
  }

  async function pass(arrival: Arrival): Promise<void> {
    const { credential } = arrival
    const none = { arrival, credential, call: null, actions: null, outcome: null, error: null }
    if (credential.token === null && 'problem' in credential) {
      const problem = credential.problem ?? 'no token was presented'
      const challenge = { error: credential.problem === null ? null : 'invalid_request', description: problem }
      await arrival.refuse(refuse('unauthenticated', `Not executed. ${problem}.`, { challenge }))
      return note(none)
    }
    const call = arrival.open(AGENT)
    const actions = await call.describe(new Set(judge.needs ?? []), [])
    if (isRefusal(actions)) return note({ ...none, call, outcome: await call.refuse(actions) })
    try {
      const outcome = await judge(call, actions, (release) => call.forward(releaseOf(call, release)))
      note({ ...none, call, actions, outcome })
    } catch (error) {
      note({ ...none, call, actions, error })
      throw error
    }
  }

  const running = await startHttp({
    upstreams: options,
    pass,
    charge: more.charge ?? (() => null),
    newCallId,
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    log,
    server,
    publicUrl: 'https://gateway.test',
    holdWaitMs: 50_000,
    injector: createInjector(options),
    sign: createAssertionSigner({
      issuer: 'https://gateway.test',
      key: () => assertionKey,
      now: () => Date.now(),
    }),
    ...(more.maxKeptBytes === undefined ? {} : { maxKeptBytes: more.maxKeptBytes }),
    ...(more.room === undefined ? {} : { room: more.room }),
  })
  const { port } = await server.listen()

  return {
    port,
    url: `http://127.0.0.1:${port}`,
    passed,
    malformed,
    http: running,
    ended: (count) =>
      new Promise((resolve) => {
        const look = () => {
          const entry = passed[count - 1]
          if (!entry) return
          waiters.delete(look)
          resolve(entry)
        }
        waiters.add(look)
        look()
      }),
    async close() {
      await server.close(50)
      await running.stop()
    },
  }
}

const assertionKey = { kid: 'test', key: keyPair.privateKey }
