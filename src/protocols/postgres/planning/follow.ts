import type { Clock } from '../../../platform/clock.ts'
import { type AskHidden, askHidden } from '../catalog/hidden.ts'
import { askCatalog, askSituation, type Situation } from '../catalog/holders.ts'
import type { CatalogMemory } from '../catalog/memory.ts'
import { askSettings, type Settings } from '../catalog/settings.ts'
import type { Namer } from '../naming/statement.ts'
import { createRelay, type Relay, type RelayClient } from '../relay/relay.ts'
import type { UpstreamSession } from '../upstream/open.ts'
import type { Fault } from '../wire/report.ts'
import type { Batch } from './batch.ts'
import { checkNames, noteNames } from './names.ts'
import { type Plan, planBatch } from './plan.ts'
import { endTransaction, forgetPath, type State } from './state.ts'

/** How long what was asked of a session's situation is good for, in milliseconds. */
const SITUATION_MS = 1_000

/** A session upstream, and what it has become by what went through it. */
export interface Followed {
  readonly relay: Relay
  readonly state: State
  /** What masks hide of what it can read. */
  readonly askHidden: AskHidden
  /** What the client has set; null if it cannot be asked where the transaction stands. */
  askSettings(): Promise<Settings | null>
  /** Says what a batch does, as names mean now: as far as the upstream can be asked. */
  plan(batch: Batch): Promise<Plan | Fault>
  /** Amid a batch, after code ran that may have changed something: whether what follows is what it was judged as. */
  isAsJudged(): Promise<boolean>
}

/** Stands between a client and a session upstream that has just begun. */
export function follow({
  client,
  upstream,
  startup,
  catalog,
  namer,
  maxBatchBytes,
  maxHeldBytes,
  clock,
  takeRoom,
}: {
  readonly client: RelayClient
  readonly upstream: UpstreamSession
  readonly startup: { readonly user: string; readonly database: string; readonly applicationName: string }
  readonly catalog: CatalogMemory
  readonly namer: Namer
  readonly maxBatchBytes: number
  readonly maxHeldBytes: number
  readonly clock: Pick<Clock, 'monotonic'>
  /** See `createRelay`. */
  takeRoom(bytes: number): boolean
}): Followed {
  const relay: Relay = createRelay({
    client,
    upstream,
    maxBatchBytes,
    takeRoom,
    onReady(status) {
      if (status !== 'I') return
      if (state.hasOwnCatalog) catalog.forget()
      endTransaction(state)
    },
    onParameter(name) {
      if (name === 'search_path') forgetPath(state)
    },
  })
  const { user, database, applicationName } = startup
  let lookedAt = Number.NEGATIVE_INFINITY
  const isApart = () => state.hasOwnCatalog
  const state: State = {
    statements: new Map(),
    portals: new Map(),
    isPathReported: upstream.parameters.has('search_path'),
    hasOwnCatalog: false,
    role: '',
    settings: new Set(),
    hasUnseenSettings: false,
    times: upstream.parameters,
    births: new Map(),
    active: null,
    view: {
      user,
      database,
      applicationName,
      clientEncoding: '',
      serverEncoding: upstream.parameters.get('server_encoding') ?? '',
      standardConformingStrings: false,
      searchPath: null,
      inTransaction: false,
      prepared: new Map(),
      cursors: new Map(),
      hasCertainNames: true,
      shadows: new Set(),
      hasLocalPath: false,
      catalog: catalog.before(askCatalog(relay, isStill), { database, isApart }),
    },
  }

  /** What names mean now. */
  async function lookAround(): Promise<void> {
    if (!state.view.hasCertainNames) await checkNames(relay, state)
    const { parameters, status } = relay
    // A server tells of changed settings when it is ready for a query: amid a batch it has to be asked. Of some it tells
    // nothing: what hides behind a view or a trigger may have set the role.
    const isOld = clock.monotonic() - lookedAt >= SITUATION_MS
    const isToBeAsked = state.view.searchPath === null || relay.hasBegun || isOld
    const asked = isToBeAsked ? await askSituation(relay) : null
    if (asked) {
      state.role = asked.role
      lookedAt = clock.monotonic()
    }
    state.times = asked?.times ?? parameters
    state.view = {
      ...state.view,
      applicationName: parameters.get('application_name') ?? '',
      clientEncoding: asked?.clientEncoding ?? parameters.get('client_encoding') ?? '',
      standardConformingStrings:
        asked?.standardConformingStrings ?? parameters.get('standard_conforming_strings') === 'on',
      inTransaction: status !== 'I',
      shadows: new Set(),
      ...(asked ? { searchPath: asked.schemas } : {}),
    }
  }

  function isStill({ schemas, role }: Pick<Situation, 'schemas' | 'role'>): boolean {
    const isSame = role === state.role && JSON.stringify(schemas) === JSON.stringify(state.view.searchPath)
    if (!isSame) forgetPath(state)
    return isSame
  }

  return {
    relay,
    state,
    askHidden: catalog.beforeHidden(askHidden(relay), {
      database,
      isApart,
      // A transaction may go on seeing what was there when it began.
      isBehind: () => relay.status !== 'I' || relay.isOpen,
    }),
    askSettings: () => askSettings(relay, state.settings),
    async plan(batch) {
      for (let isAgain = false; ; isAgain = true) {
        await lookAround()
        const { searchPath } = state.view
        const plan = await planBatch(batch, { namer, state, maxHeldBytes, signal: relay.over })
        // The catalog said that the path is another one by now: named anew, once.
        if (!isAgain && searchPath !== null && state.view.searchPath === null) continue
        relay.over.throwIfAborted()
        if ('doings' in plan && plan.doings.some(({ named }) => named.some(({ isOpaque }) => isOpaque))) {
          await noteNames(relay, state)
        }
        return plan
      }
    },
    async isAsJudged() {
      const asked = await askSituation(relay)
      if (!asked?.standardConformingStrings || asked.clientEncoding !== 'UTF8') return false
      if (state.view.searchPath !== null && !isStill(asked)) return false
      return state.view.hasCertainNames || (await checkNames(relay, state))
    },
  }
}
