import type { Upstream } from '../../../domain/call.ts'
import { GatewayError } from '../../../domain/error.ts'
import type { Logger } from '../../../platform/logger.ts'
import type { Fault } from '../wire/report.ts'
import { openUpstream, type Target, UpstreamRefused, type UpstreamSession } from './open.ts'

/** The gateway's own credential for an upstream, as it is at the moment. */
export type OwnLogin = () => { readonly user: string; readonly password: string }

export interface ConnectParts {
  readonly service: { readonly upstream: Upstream; readonly target: Target; readonly log: Logger }
  readonly login: OwnLogin
  /** The one database that may be asked for; null: any that the gateway may connect to. */
  readonly onlyDatabase: string | null
}

/** What a session begins with. */
export interface Wish {
  readonly database: string
  readonly settings: ReadonlyMap<string, string>
}

/** Begins a session upstream for an agent; a fault, as the agent may be told it, if there can be none. */
export async function connect(
  { service, login, onlyDatabase }: ConnectParts,
  { database, settings }: Wish,
  signal: AbortSignal,
): Promise<UpstreamSession | Fault> {
  if (onlyDatabase !== null && database !== onlyDatabase) return otherDatabase(onlyDatabase)
  try {
    return await openUpstream(service.target, { ...login(), database, settings }, signal)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    service.log.warn({ err: error, upstream: service.upstream.name }, 'a session upstream could not be opened')
    return error instanceof UpstreamRefused ? refusalOf(error) : UNREACHABLE
  }
}

export const TOO_MANY: Fault = {
  code: '53300',
  message: 'This agent has as many sessions open as it may have, or all are taken.',
  hint: 'Close some of them, or use a smaller pool.',
}

function otherDatabase(only: string): Fault {
  return { code: '3D000', message: `Sessions through this gateway are with the database ${JSON.stringify(only)} only.` }
}

const UNREACHABLE: Fault = { code: '08006', message: 'The upstream cannot be reached.' }

/** What the agent can do something about is passed on; that the gateway's own credential failed is not its business. */
function refusalOf({ report }: UpstreamRefused): Fault {
  const { C: code = '', M: message = '' } = report
  if (/^(?:3D|53|57|22)/.test(code)) return { code, message }
  return { code: '08004', message: 'The upstream did not accept the gateway.' }
}
