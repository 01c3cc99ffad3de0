import { type Actions, type Needs, NOTHING_NEEDED } from '../../../src/domain/action.ts'
import type { Approval, Spent } from '../../../src/domain/approval.ts'
import type { Exchange, Intent, Outcome, Presentation, Sealed } from '../../../src/domain/call.ts'
import type { Entry } from '../../../src/domain/entry.ts'
import { type ImpactTerms, NO_IMPACT_TERMS } from '../../../src/domain/impact.ts'
import type { Judged } from '../../../src/domain/judged.ts'
import type { Principal } from '../../../src/domain/principal.ts'
import { parseQualified } from '../../../src/domain/qualified.ts'
import { isRefusal, type Refusal, refuse } from '../../../src/domain/refusal.ts'
import type { Effect, Mask, Verdict } from '../../../src/domain/verdict.ts'
import { createGate } from '../../../src/gate.ts'
import { systemClock } from '../../../src/platform/clock.ts'
import { newCallId } from '../../../src/platform/id.ts'
import { createLogger } from '../../../src/platform/logger.ts'
import { createCatalogMemory } from '../../../src/protocols/postgres/catalog/memory.ts'
import { receive } from '../../../src/protocols/postgres/door.ts'
import { createCancels } from '../../../src/protocols/postgres/entrance/cancel.ts'
import { createNamer } from '../../../src/protocols/postgres/naming/namer.ts'
import type { Service } from '../../../src/protocols/postgres/session.ts'
import type { Target } from '../../../src/protocols/postgres/upstream/open.ts'
import { createRoom } from '../../../src/transports/room.ts'
import { createTcpListener } from '../../../src/transports/tcp/listener.ts'
import { createTestDatabase, type TestDatabase } from '../../postgres.ts'

export const ALICE: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'agent',
  onBehalfOf: null,
  actors: [],
  owner: null,
  groups: [],
  client: null,
  expiresAt: 2e9,
}

/** A call that waits for people. */
export interface Held {
  readonly approval: Approval
  readonly call: Exchange
  readonly sealed: Sealed
  readonly presentation: Presentation
  approve(): void
  deny(reason: string): void
}

export interface World {
  readonly port: number
  readonly database: string
  /** As the superuser, without the gateway. */
  readonly adminUrl: string
  /** What an agent connects with. */
  url(more?: Record<string, string>): string
  /** Every call that was judged, oldest first. */
  readonly calls: { readonly call: Exchange; readonly actions: Actions | null; outcome: Outcome | null }[]
  /** What policy says; allows everything unless a test says otherwise. */
  decide: (actions: Actions) => Effect
  mode: 'enforce' | 'observe'
  /** Columns that policy masks, as rules write them. */
  masks: readonly string[]
  spendBytes: (count: number) => boolean
  spendRows: (count: number) => boolean
  /** What the rules that match read. */
  needs: Needs
  /** What rules say of the rows that are touched. */
  impact: ImpactTerms
  /** Entries of previews; while `isRecording` is false, none can be written. */
  readonly previews: Entry[]
  previewRole: string | null
  isRecording: boolean
  /** The next call that is held. */
  held(): Promise<Held>
  /** Resolves when the outcome of so many calls is on record. */
  recorded(count: number): Promise<void>
  cut(why: Refusal): void
  readonly open: number
  close(): Promise<void>
}

const log = createLogger({ level: 'fatal' })
export const VERDICT: Verdict = {
  effect: 'allow',
  basis: 'rule',
  rules: [{ policy: 'shop', rule: 'a-rule' }],
  message: null,
  requirements: [],
  limits: [],
  masks: [],
  maxDurationMs: null,
  policyVersion: 1,
  decidingAction: 0,
}

function maskOf(text: string): Mask {
  const [schema = '', relation = '', column = ''] = parseQualified(text) ?? []
  return { rule: { policy: 'shop', rule: 'a-rule' }, schema, relation, column }
}

/** A gateway with a real Postgres behind it, whose policy and reviewers are the test's. It takes the database with it. */
export async function startWorld(
  given: Promise<Pick<TestDatabase, 'adminUrl' | 'close'>> = createTestDatabase(),
): Promise<World> {
  const store = await given
  const admin = new URL(store.adminUrl)
  const target: Target = { host: admin.hostname, port: Number(admin.port), tls: null, connectTimeoutMs: 10_000 }
  const namer = createNamer()
  const cancels = createCancels()
  const draining = new AbortController()
  const cuts = new Set<(why: Refusal) => void>()
  const waiting: Held[] = []
  const heldWaits: ((held: Held) => void)[] = []
  const recordWaits = new Set<() => void>()
  let approvals = 0

  async function judge(call: Exchange): Promise<Judged> {
    const actions = await call.describe(world.needs, world.masks.map(maskOf))
    if (!world.calls.some((each) => each.call === call))
      world.calls.push({ call, actions: isRefusal(actions) ? null : actions, outcome: null })
    if (isRefusal(actions)) return { effect: 'deny', verdict: null, actions: null, refusal: actions }
    const effect = world.decide(actions)
    const verdict: Verdict = { ...VERDICT, effect, masks: world.masks.map(maskOf), impact: world.impact }
    if (effect !== 'deny') return { effect, verdict, actions, refusal: null }
    const refusal = refuse('denied', 'Not executed. A rule forbids it. (rule shop/a-rule)')
    return { effect, verdict, actions, refusal }
  }

  const settled = new WeakMap<Approval, Promise<Approval | Refusal>>()
  const gate = createGate({
    identify: (credential) =>
      Promise.resolve('proven' in credential ? credential.proven : refuse('unauthenticated', 'No session.')),
    admit: () => null,
    judge,
    count: (_call, judged) => Promise.resolve(judged),
    recorder: {
      // Only the log makes a real one.
      intent: () => Promise.resolve({} as Intent),
      outcome(call, _approval, outcome) {
        const entry = world.calls.find((each) => each.call === call)
        if (entry) entry.outcome = outcome
        for (const wait of recordWaits) wait()
        return Promise.resolve()
      },
    },
    approvals: {
      async hold(call, _judged, unsealed) {
        const presentation = await call.present({ impact: world.impact })
        const { stored } = unsealed
        const { foreseen } = presentation
        const head = foreseen === undefined ? stored.head : { ...stored.head, foreseen }
        const sealed: Sealed = { ...unsealed, stored: { ...stored, head } }
        approvals += 1
        const decision = Promise.withResolvers<Approval | Refusal>()
        // What nobody here reads is left out.
        const approval = { id: `A${approvals}`, callId: call.id, state: 'pending' } as Approval
        settled.set(approval, decision.promise)
        const held: Held = {
          approval,
          call,
          sealed,
          presentation,
          approve: () => decision.resolve(approval),
          deny: (reason) => decision.resolve(refuse('not_approved', `Not executed. Denied: ${reason}`)),
        }
        const wait = heldWaits.shift()
        if (wait) wait(held)
        else waiting.push(held)
        return approval
      },
      settle(approval, call) {
        const gone = new Promise<Refusal>((resolve) => {
          const left = () =>
            resolve(refuse(call.whenGone() === 'withdraw' ? 'withdrawn' : 'approval_pending', 'Not executed. Gone.'))
          if (call.gone.aborted) left()
          else call.gone.addEventListener('abort', left, { once: true })
        })
        return Promise.race([gone, settled.get(approval) ?? gone])
      },
      recall: (approval) => Promise.resolve(sealedOf(approval).stored),
      spend: (approval, _call, { digest }) =>
        Promise.resolve(
          digest.equals(sealedOf(approval).digest)
            ? ({ ...approval, startBy: Number.POSITIVE_INFINITY } satisfies Spent)
            : refuse('withdrawn', 'Not executed. Another digest.'),
        ),
      withdraw: () => Promise.resolve(refuse('withdrawn', 'Not executed. Withdrawn.')),
    },
    underWatch: (_call, _terms, work) =>
      work({
        signal: new AbortController().signal,
        spendBytes: (count) => world.spendBytes(count),
        spendRows: (count) => world.spendRows(count),
      }),
  })

  const sealed = new WeakMap<Approval, Sealed>()
  function sealedOf(approval: Approval): Sealed {
    const found = sealed.get(approval)
    if (!found) throw new Error('no such approval')
    return found
  }
  const service: Service = {
    upstream: {
      name: 'shop',
      protocol: 'postgres',
      labels: {},
      get mode() {
        return world.mode
      },
      waitMs: 60_000,
    },
    target,
    namer,
    catalog: createCatalogMemory(systemClock),
    cancels,
    publicUrl: 'https://gateway.example.com',
    pass: gate.pass,
    charge: () => null,
    watch(_principal, onCut) {
      cuts.add(onCut)
      return () => void cuts.delete(onCut)
    },
    newCallId,
    get previewRole() {
      return world.previewRole
    },
    record(entry) {
      if (!world.isRecording) return Promise.reject(new Error('the log cannot be written'))
      world.previews.push(entry)
      return Promise.resolve()
    },
    maxBatchBytes: 4 * 1024 * 1024,
    room: createRoom({ total: 1e9, perHolder: 1e9 }),
    maxHeldBytes: 8 * 1024 * 1024,
    sessionMaxMs: 600_000,
    draining: draining.signal,
    clock: systemClock,
    log,
  }
  const connections = new Set<Promise<void>>()
  const listener = createTcpListener({
    place: { host: '127.0.0.1', port: 0 },
    log,
    onConnection(accepted) {
      const running = receive(accepted, {
        entrance: {
          tls: null,
          cancels,
          identify: (credential) =>
            Promise.resolve(credential.token === 'good' ? ALICE : refuse('unauthenticated', 'The token is expired.')),
          challenge: () => Promise.resolve(refuse('unauthenticated', 'Nobody was minted here.')),
          noteMalformed() {},
        },
        service,
        onlyDatabase: null,
        seats: createRoom({ total: 2_000, perHolder: 2_000 }),
        login: () => ({ user: decodeURIComponent(admin.username), password: decodeURIComponent(admin.password) }),
      }).finally(() => connections.delete(running))
      connections.add(running)
    },
  })
  const { port } = await listener.listen()
  const database = admin.pathname.slice(1)

  const world: World = {
    port,
    database,
    adminUrl: store.adminUrl,
    url(more = {}) {
      const url = new URL(`postgres://app:good@127.0.0.1:${port}/${database}`)
      for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value)
      return url.href
    },
    calls: [],
    decide: () => 'allow',
    mode: 'enforce',
    masks: [],
    spendBytes: () => true,
    spendRows: () => true,
    needs: NOTHING_NEEDED,
    impact: NO_IMPACT_TERMS,
    previews: [],
    previewRole: null,
    isRecording: true,
    async held() {
      const next = waiting.shift() ?? (await new Promise<Held>((resolve) => heldWaits.push(resolve)))
      sealed.set(next.approval, next.sealed)
      return next
    },
    recorded: (count) =>
      new Promise((resolve) => {
        const look = () => {
          if (world.calls.filter(({ outcome }) => outcome !== null).length < count) return
          recordWaits.delete(look)
          resolve()
        }
        recordWaits.add(look)
        look()
      }),
    cut(why) {
      for (const onCut of [...cuts]) onCut(why)
    },
    get open() {
      return connections.size
    },
    async close() {
      listener.destroy()
      await Promise.all(connections)
      await namer.stop()
      await store.close()
    },
  }
  return world
}
