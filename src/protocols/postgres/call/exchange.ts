import type { Actions, Needs } from '../../../domain/action.ts'
import type { Exchange, Outcome, Release, Sealed, Upstream } from '../../../domain/call.ts'
import type { Entry } from '../../../domain/entry.ts'
import type { Principal } from '../../../domain/principal.ts'
import { isRefusal, type Refusal, refuse } from '../../../domain/refusal.ts'
import type { Mask, Verdict } from '../../../domain/verdict.ts'
import type { AskHidden } from '../catalog/hidden.ts'
import type { Settings } from '../catalog/settings.ts'
import { type Bound, boundsOf, explainExcess, forwardBounded } from '../impact/bounded.ts'
import { encodeForeseen, type Foreseen, readForeseen } from '../impact/foreseen.ts'
import { createPreview, type Preview } from '../impact/preview.ts'
import { type Masked, maskBatch } from '../masking/mask.ts'
import type { Namer, SessionView } from '../naming/statement.ts'
import type { Batch } from '../planning/batch.ts'
import type { Plan } from '../planning/plan.ts'
import { forwardPlan } from '../planning/stages.ts'
import type { Relay } from '../relay/relay.ts'
import { SessionOver } from '../relay/session-over.ts'
import type { Terms, Traffic } from '../relay/traffic.ts'
import { encodeNotice, type Fault, faultOf } from '../wire/report.ts'
import { describeDoings, MAX_ACTIONS } from './describe.ts'
import { type Binding, canonicalBytes, digestOf, matchKeyOf } from './digest.ts'
import { createNotices } from './notices.ts'
import { isOnlyItself } from './only.ts'
import { presentDoings } from './present.ts'

export interface ExchangeParts {
  readonly id: string
  readonly principal: Principal
  readonly upstream: Upstream
  readonly batch: Batch
  /** What it does, or why it cannot be told. */
  readonly plan: Plan | Fault
  /** The same, as names mean now. */
  planAnew(): Promise<Plan | Fault>
  readonly binding: Omit<Binding, 'principal' | 'settings' | 'only'>
  /** See `State`. */
  readonly hasUnseenSettings: boolean
  askSettings(): Promise<Settings | null>
  readonly relay: Relay
  readonly askHidden: AskHidden
  readonly namer: Namer
  /** See `PreviewParts`. */
  readonly previewRole: string | null
  /** The session as the batch finds it. */
  view(): SessionView
  /** Puts on record that the upstream is asked something before anyone decided. */
  record(entry: Entry): Promise<unknown>
  /** The session's client. */
  readonly client: { write(bytes: Uint8Array): void }
  readonly publicUrl: string
  /** Aborts when the client has left, or has cancelled the call; at the latest when the call is over. */
  readonly gone: AbortSignal
  /** Whether it was cancelled. */
  isCancelled(): boolean
  /** Tells the client that the batch is refused, and puts the transaction where it belongs. */
  refuse(fault: Fault): Promise<void>
  /** Whether what follows in the batch still means what it was judged as. */
  isAsJudged(): Promise<boolean>
  /** It runs from now on, until what is returned is called: a cancel is the upstream's. */
  running(): () => void
  monotonic(): number
}

/** In an open transaction locks are held, and the upstream may end it: nobody waits for people for long. */
const MAX_WAIT_IN_TRANSACTION_MS = 30_000

/** Makes the exchange of one batch. */
export function createExchange(parts: ExchangeParts): Exchange {
  const { id, principal, upstream, batch, relay } = parts
  let { plan } = parts
  const { inTransaction } = parts.binding.view
  const notices = createNotices(parts.client, parts.publicUrl)
  // Columns that it returns, and whose values are not.
  let hidden: readonly string[] = []
  // What the client has set, as far as it could be asked.
  let settings: Settings | null = null
  // Whether nobody else can attach to what is decided of it.
  let isOnly = false
  // A fault of the SQL itself keeps its SQLSTATE through the gate.
  const faults = new Map<Refusal, Fault>()
  let preview = previewOf(plan)
  // Rows that were approved, and those that rules have seen: what runs is held to them.
  let approved: Foreseen | null = null
  let judged: readonly (number | null)[] = []

  parts.gone.addEventListener('abort', notices.end, { once: true })

  function previewOf(named: Plan | Fault): Preview | null {
    if ('code' in named) return null
    return createPreview({
      doings: named.doings,
      isDivided: named.cuts.length > 0,
      namer: parts.namer,
      relay,
      view: parts.view(),
      record: (what) => recordPreview(named, what),
      monotonic: () => parts.monotonic(),
      gone: parts.gone,
      role: parts.previewRole,
    })
  }

  async function describe(needs: Needs, masks: readonly Mask[]): Promise<Actions | Refusal> {
    if (!preview || !needs.has('rows')) return described()
    // How many rows a condition on a masked column meets tells of its values, through what rules make of the number.
    const masked = await mask({ masks })
    if (isRefusal(masked)) return masked
    judged = await preview.rows()
    return described(judged)
  }

  async function recordPreview(
    { doings }: Plan,
    detail: { readonly for: 'rule' | 'card'; readonly statements: number },
  ): Promise<void> {
    const [action] = describeDoings(doings, upstream.name)
    const about = action && { verb: action.verb, resource: action.resource }
    await parts.record({ kind: 'previewed', callId: id, principal, upstream: upstream.name, ...about, detail })
  }

  function described(rows: readonly (number | null)[] = []): Actions | Refusal {
    if ('code' in plan) return unnamed(plan)
    const [first, ...others] = describeDoings(plan.doings, upstream.name, rows)
    if (!first) return refuse('malformed', 'Not executed. The batch holds no statement.')
    if (others.length >= MAX_ACTIONS) {
      return refuse('too_large', `Not executed. The batch does more than ${MAX_ACTIONS} things; send it in parts.`)
    }
    return [first, ...others]
  }

  function unnamed(fault: Fault): Refusal {
    const [known] = faults.keys()
    if (known) return known
    const why = refuse('unreadable', fault.message)
    faults.set(why, fault)
    return why
  }

  async function seal(): Promise<Sealed | Refusal> {
    if ('code' in plan) return unnamed(plan)
    const canonical = canonicalBytes(plan.doings)
    const actions = described()
    if (isRefusal(actions)) return actions
    settings = await parts.askSettings()
    isOnly = isOnlyItself(plan.doings, {
      isInBlock: relay.status !== 'I' || relay.isOpen,
      hasUnseenSettings: parts.hasUnseenSettings,
      isAsked: settings !== null && parts.binding.view.searchPath !== null,
    })
    const binding: Binding = { ...parts.binding, principal, settings, only: isOnly ? id : null }
    return {
      digest: digestOf(canonical, actions, binding),
      matchKey: matchKeyOf(canonical, binding),
      stored: { head: { version: 1, database: binding.database }, body: canonical },
    }
  }

  /** What is to be taken out of the answers; a refusal if the batch could give it away otherwise. */
  async function mask({ masks }: Pick<Verdict, 'masks'>): Promise<Masked | null | Refusal> {
    if ('code' in plan) throw new TypeError('what could not be named was let through')
    // Where the gateway only watches, agents get what they got before.
    if (upstream.mode === 'observe') return null
    try {
      const masked = await maskBatch(plan, masks, parts.askHidden)
      if (masked === null || !('code' in masked)) return masked
      const why = refuse('denied', masked.message)
      faults.set(why, masked)
      return why
    } catch (error) {
      if (error instanceof SessionOver) return BROKEN_OFF
      throw error
    }
  }

  async function send({ verdict, signal, spendBytes, spendRows }: Release): Promise<Outcome> {
    notices.end()
    if ('code' in plan) throw new TypeError('what could not be named was let through')
    const masked = await mask(verdict)
    if (isRefusal(masked)) return tellRefusal(masked)
    // From here on a cancel is the upstream's.
    if (parts.isCancelled()) return tellRefusal(WITHDRAWN)
    if (masked !== null && masked.columns.length > 0) parts.client.write(encodeNotice(noticeOf(masked)))
    const startedAt = parts.monotonic()
    const sinceStart = () => ({ durationMs: Math.round(parts.monotonic() - startedAt) })
    const cut = () => {
      const reason: unknown = signal.reason
      const why = isRefusal(reason) ? reason : CUT
      relay.end(new SessionOver('gateway', why.detail), faultOf(why))
    }
    if (signal.aborted) cut()
    signal.addEventListener('abort', cut, { once: true })
    const ran = parts.running()
    const terms = { spendBytes, spendRows, concealer: masked?.concealer ?? null }
    const now = verdict.impact?.tolerances ?? []
    // Where the gateway only watches, nothing is rolled back.
    const bounds = upstream.mode === 'observe' ? null : boundsOf({ approved, judged, now })
    try {
      const outcome = bounds ? await sendBounded(plan, bounds, masked, terms) : await sendFreely(plan, masked, terms)
      return { ...outcome, ...sinceStart() }
    } catch (error) {
      if (!(error instanceof SessionOver)) throw error
      return { ...outcomeOf(error, signal), ...sinceStart() }
    } finally {
      ran()
      signal.removeEventListener('abort', cut)
    }
  }

  async function sendFreely(named: Plan, masked: Masked | null, terms: Terms): Promise<Outcome> {
    const how = { relay, terms, isMasked: masked !== null, isAsJudged: parts.isAsJudged }
    const { traffic, isWhole } = await forwardPlan(batch, named, how)
    if (isWhole) return { name: 'forwarded', ...countsOf(traffic) }
    await parts.refuse(faultOf(CHANGED))
    return { name: 'cut', refusal: CHANGED }
  }

  async function sendBounded(
    named: Plan,
    bounds: readonly (Bound | null)[],
    masked: Masked | null,
    terms: Terms,
  ): Promise<Outcome> {
    const { client } = parts
    const how = { relay, client, batch, plan: named, isMasked: masked !== null, bounds, terms }
    const { traffic, rows, excess } = await forwardBounded(how)
    if (!excess) return { name: 'forwarded', rows, ...countsOf(traffic) }
    const fault = explainExcess(excess)
    await parts.refuse(fault)
    return { name: 'rolled_back', refusal: refuse('denied', fault.message), rows, ...countsOf(traffic) }
  }

  return {
    id,
    upstream,
    principal,
    waitMs: inTransaction ? Math.min(upstream.waitMs, MAX_WAIT_IN_TRANSACTION_MS) : upstream.waitMs,
    isDetached: false,
    idempotencyKey: null,
    claimed: claimedOf(plan),
    gone: parts.gone,
    // A disconnect leaves the approval for its return, if there can be one.
    whenGone: () => (parts.isCancelled() || isOnly ? 'withdraw' : 'leave'),
    describe,
    async seal(verdict) {
      const masked = 'code' in plan ? null : await mask(verdict)
      if (isRefusal(masked)) return masked
      hidden = masked?.columns ?? []
      return unlessOver(seal)
    },
    async adopt(stored) {
      approved = readForeseen(stored.head['foreseen'])
      const sealed = await unlessOver(async () => {
        // People took their time: its names may stand for something else by now, which nobody was asked about.
        plan = await parts.planAnew()
        preview = previewOf(plan)
        return seal()
      })
      if (isRefusal(sealed)) return sealed
      // What is forwarded says the same as what was approved: the names of its portals may differ, no more.
      if (Buffer.compare(sealed.stored.body, stored.body) === 0) return sealed.digest
      return refuse('unavailable', 'Not executed. What was approved is not what was sent.')
    },
    async present({ impact }) {
      if ('code' in plan || !preview) return { payload: null, notes: [] }
      const impacts = await preview.describe(impact)
      const rows = await preview.rows()
      return {
        payload: presentDoings(plan.doings, settings ?? []),
        notes: [...impacts, ...notes()],
        foreseen: encodeForeseen({ rows, tolerances: impact?.tolerances ?? [] }),
      }
    },
    held(approval) {
      notices.begin(approval, isOnly)
      return Promise.resolve()
    },
    forward: send,
    refuse: tellRefusal,
  }

  async function tellRefusal(why: Refusal): Promise<Outcome> {
    notices.end()
    const fault = faults.get(why) ?? faultOf(why)
    try {
      await parts.refuse(parts.isCancelled() ? CANCELLED : fault)
    } catch (error) {
      if (!(error instanceof SessionOver)) throw error
    }
    return { name: why.code === 'approval_pending' ? 'pending' : 'refused', refusal: why }
  }

  function notes(): string[] {
    return [
      ...(inTransaction ? ['The agent has a transaction open: it waits for this, with its locks.'] : []),
      ...(hidden.length > 0 ? [`The agent is not given the values of ${hidden.join(', ')}.`] : []),
    ]
  }
}

async function unlessOver<T>(work: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof SessionOver) return BROKEN_OFF
    throw error
  }
}

function countsOf({ bytesIn, bytesOut, copied }: Traffic): Pick<Outcome, 'bytesIn' | 'bytesOut' | 'requestHash'> {
  return { bytesIn, bytesOut, ...(copied && { requestHash: copied.digest('hex') }) }
}

function noticeOf({ columns }: Masked): Fault {
  return { code: '01000', message: `NULL stands for every value of ${columns.join(', ')}: a rule masks it.` }
}

const CANCELLED: Fault = {
  code: '57014',
  message: 'Not executed. The statement was cancelled on request of the client.',
}
const WITHDRAWN = refuse('withdrawn', CANCELLED.message)
const BROKEN_OFF = refuse('upstream_failed', 'The upstream broke off.')
const CHANGED = refuse(
  'unavailable',
  'Undone. Code that ran in this batch changed what the rest of it means. Send the rest in a batch of its own.',
)
const CUT = refuse('unavailable', 'Cut off. The gateway ended the session.')

function outcomeOf({ side, message }: SessionOver, signal: AbortSignal): Outcome {
  if (signal.aborted) return { name: 'cut', refusal: isRefusal(signal.reason) ? signal.reason : CUT }
  if (side === 'client') return { name: 'client_gone' }
  if (side === 'gateway') return { name: 'cut', refusal: refuse('rate_limited', message) }
  return { name: 'upstream_failed', refusal: BROKEN_OFF }
}

/** What the client says in a comment of the first statement (sqlcommenter). */
function claimedOf(plan: Plan | Fault): Exchange['claimed'] {
  const first = 'code' in plan ? undefined : plan.doings[0]?.named[0]
  const trace = first?.claimed.trace
  const { model, reason } = first?.claimed.tags ?? {}
  return {
    ...(reason === undefined ? {} : { reason }),
    ...(model === undefined ? {} : { model }),
    ...(trace === undefined ? {} : { trace }),
  }
}
