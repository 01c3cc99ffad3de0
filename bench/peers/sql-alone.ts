// Countersign's Postgres protocol with a gate that lets everything through and writes nothing down: what naming and the
// wire cost by themselves. It takes the upstream's URL, and any password.
import type { Intent } from '../../src/domain/call.ts'
import type { Judged } from '../../src/domain/judged.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { isRefusal } from '../../src/domain/refusal.ts'
import { createGate } from '../../src/gate.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { NOTHING } from '../../src/policy/decide.ts'
import { postgres } from '../../src/protocols/postgres/index.ts'
import { postgresOptions } from '../../src/protocols/postgres/options.ts'
import { createGatewayServer } from '../../src/transports/http/server.ts'

const url = new URL(process.argv[2] ?? '')
const ANYBODY: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'agent',
  onBehalfOf: null,
  actors: [],
  owner: null,
  groups: [],
  client: null,
  expiresAt: 2e9,
}
const ALLOWED = { ...NOTHING, effect: 'allow', basis: 'rule', policyVersion: 1 } as const
const never = () => Promise.reject(new Error('nothing is held here'))

const gate = createGate({
  identify: (credential) => Promise.resolve('proven' in credential ? credential.proven : ANYBODY),
  admit: () => null,
  async judge(call): Promise<Judged> {
    const actions = await call.describe(new Set(), [])
    if (isRefusal(actions)) return { effect: 'deny', verdict: null, actions: null, refusal: actions }
    return { effect: 'allow', verdict: ALLOWED, actions, refusal: null }
  },
  count: (_call, judged) => Promise.resolve(judged),
  // Only the log makes a real one.
  recorder: { intent: () => Promise.resolve({} as Intent), outcome: () => Promise.resolve() },
  approvals: { hold: never, settle: never, recall: never, spend: never, withdraw: never },
  underWatch: (_call, _terms, work) =>
    work({ signal: new AbortController().signal, spendBytes: () => true, spendRows: () => true }),
})
const log = createLogger({ level: 'warn', destination: process.stderr })
const running = await postgres.start({
  upstreams: [
    postgresOptions.parse({
      name: 'orders',
      protocol: 'postgres',
      url: `postgres://${url.host}${url.pathname}`,
      listen: '127.0.0.1:0',
      sslmode: 'disable',
    }),
  ],
  injector: {
    loginFor: () => ({ user: decodeURIComponent(url.username), password: decodeURIComponent(url.password) }),
  },
  // It never listens: what is measured comes in by the wire.
  server: createGatewayServer({
    ...{ host: '127.0.0.1', port: 0, tls: null, isBehindTlsProxy: false, log, newCallId },
    onMalformed() {},
  }),
  tls: null,
  publicUrl: 'https://gateway.example.com',
  holdWaitMs: 0,
  identify: () => Promise.resolve(ANYBODY),
  challenge: () => Promise.reject(new Error('nobody was minted here')),
  pass: gate.pass,
  charge: () => null,
  watch: () => () => {},
  noteMalformed() {},
  newCallId,
  record: () => Promise.resolve(),
  sessionMaxMs: 3_600_000,
  clock: systemClock,
  log,
})
const [listener] = running.listeners ?? []
const { port } = (await listener?.listen()) ?? { port: 0 }
process.stdout.write(`${port}\n`)
process.once('SIGTERM', () => process.exit(0))
