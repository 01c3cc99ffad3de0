import type { z } from 'zod'
import type { SlackParts } from '../channels/slack/channel.ts'
import type { FactSchema } from '../domain/action.ts'
import type { RunningChannel } from '../domain/channel.ts'
import type { Logger } from '../platform/logger.ts'
import type { HttpParts } from '../protocols/http/serve.ts'
import type { PostgresParts } from '../protocols/postgres/serve.ts'
import type { RunningProtocol } from '../transports/protocol.ts'
import type { PersonContext } from './person-context.ts'

/** Everything a protocol may be given; each takes what it needs. Of its upstreams only itself knows the type. */
export type ProtocolParts = Omit<HttpParts & PostgresParts, 'upstreams'> & { readonly upstreams: readonly never[] }
/** Everything a channel may be given. */
export type ChannelParts = Omit<SlackParts, 'options'> & { readonly options: object }

/** A protocol as `main.ts` lists it. */
export interface ProtocolKind {
  readonly name: string
  readonly options: z.ZodObject
  readonly facts: FactSchema
  readonly verbs: readonly string[]
  readonly takesMinted?: boolean
  readonly hasRows?: boolean
  start(parts: ProtocolParts): Promise<RunningProtocol>
}

/** A channel as `main.ts` lists it. */
export interface ChannelKind {
  readonly name: string
  readonly options: z.ZodObject
  start(parts: ChannelParts): Promise<RunningChannel>
}

/** What the gateway is made of beside its own: the lists of `main.ts`. */
export interface Kinds {
  readonly protocols: readonly ProtocolKind[]
  readonly channels: readonly ChannelKind[]
}

/** What every command is run with. */
export interface Context extends PersonContext {
  readonly kinds: Kinds
  /** Whether people read along, so that progress may be shown. */
  readonly isTerminal: boolean
  /** How whoever sits there typed the name of this program: `countersign`, or by way of npm. */
  readonly typedAs: string
  /** Logs of a gateway go to the output; those of other commands, `warn` and worse, to the error output. */
  openLog(level: string): Logger
  readonly quietLog: Logger
}
