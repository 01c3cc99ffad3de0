import type { z } from 'zod'
import type { FactSchema } from '../domain/action.ts'
import type { Arrival, Exchange, Stored } from '../domain/call.ts'
import type { Principal } from '../domain/principal.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { Place } from '../platform/setting-kinds.ts'

/** One protocol the gateway speaks: a folder under `protocols/`, and a line in `main.ts`. */
export interface Protocol<Options extends object, Parts extends ProtocolParts<Options> = ProtocolParts<Options>> {
  readonly name: string
  /** The keys of an upstream of this protocol in countersign.yaml. */
  readonly options: z.ZodObject
  /** What policy may read of its actions. */
  readonly facts: FactSchema
  /** Every verb its actions can have. */
  readonly verbs: readonly string[]
  /** Whether clients may log in with a user and a password that the gateway has minted. */
  readonly takesMinted?: boolean
  /** Whether its answers are rows, which it counts, of columns, which it can mask. */
  readonly hasRows?: boolean
  start(parts: Parts): Promise<RunningProtocol>
}

/** Where agents come in, beside the gateway listener. */
export interface Listener {
  /** As errors call it. */
  readonly name: string
  /** As the configuration has it. */
  readonly place: Place
  /** @throws NodeJS.ErrnoException if the place cannot be listened on */
  listen(): Promise<Place>
}

export interface RunningProtocol {
  /** Left out by protocols that come in by the gateway listener. */
  readonly listeners?: readonly Listener[]
  /** Takes nobody new there, and lets the calls of those inside finish, for so many milliseconds. */
  drain?(withinMs: number): Promise<void>
  /** Makes a call again from what was stored of it: a detached one, whose response is kept instead of sent. */
  revive(stored: Stored, how: Revival): Exchange
  /** Closes its connections upstream. Calls under way have ended by then, or end now. */
  stop(): Promise<void>
}

export interface Revival {
  readonly id: string
  readonly principal: Principal
  /** Its name. */
  readonly upstream: string
}

/** What every protocol is given. */
export interface ProtocolParts<Options> {
  readonly upstreams: readonly Options[]
  /** As agents reach the gateway, without a slash at its end. */
  readonly publicUrl: string
  /** How long a held call waits where its upstream does not say, in milliseconds. */
  readonly holdWaitMs: number
  /** Takes a call to its end. It never rejects for what an agent or an upstream does. */
  pass(arrival: Arrival): Promise<void>
  /** To be asked before so many bytes of what this principal sent are parsed: a refusal if that is too much for it. */
  charge(principal: Principal, bytes: number): Refusal | null
  newCallId(): string
  readonly clock: Clock
  readonly log: Logger
}
