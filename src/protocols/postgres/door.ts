import { GatewayError } from '../../domain/error.ts'
import { formatParty } from '../../domain/principal.ts'
import type { Room } from '../../transports/room.ts'
import type { Link } from '../../transports/tcp/link.ts'
import type { Accepted } from '../../transports/tcp/listener.ts'
import { type Entered, type EntranceParts, enter } from './entrance.ts'
import { encodeFatal, type Fault } from './report.ts'
import { runSession, type Service } from './session.ts'
import { openUpstream, UpstreamRefused, type UpstreamSession } from './upstream.ts'

/** The gateway's own credential for an upstream, as it is at the moment. */
export type OwnLogin = () => { readonly user: string; readonly password: string }

export interface DoorParts {
  readonly entrance: EntranceParts
  readonly service: Service
  readonly login: OwnLogin
  /** The one database that may be asked for; null: any that the gateway may connect to. */
  readonly onlyDatabase: string | null
  /** Each session takes one. */
  readonly seats: Room
}

/** Takes a connection from its first byte to its end. Never rejects. */
export async function receive({ socket, proven }: Accepted, parts: DoorParts): Promise<void> {
  const { service } = parts
  try {
    const entered = await enter(socket, parts.entrance)
    if (!entered) return
    proven()
    const seat = parts.seats.lease(formatParty(entered.principal))
    try {
      const upstream = seat.take(1) ? await connect(entered, parts) : fail(entered.link, TOO_MANY)
      if (upstream) await runSession(entered, upstream, service)
    } finally {
      seat.end()
    }
  } catch (error) {
    service.log.error({ err: error, upstream: service.upstream.name }, 'a connection failed')
    socket.destroy()
  }
}

async function connect(
  { link, startup }: Entered,
  { service, login, onlyDatabase }: DoorParts,
): Promise<UpstreamSession | null> {
  const { database, settings } = startup
  if (onlyDatabase !== null && database !== onlyDatabase) return fail(link, otherDatabase(onlyDatabase))
  try {
    return await openUpstream(service.target, { ...login(), database, settings }, link.gone)
  } catch (error) {
    if (!(error instanceof UpstreamRefused) && !(error instanceof GatewayError)) throw error
    service.log.warn({ err: error, upstream: service.upstream.name }, 'a session upstream could not be opened')
    return fail(link, error instanceof UpstreamRefused ? refusalOf(error) : UNREACHABLE)
  }
}

function fail(link: Link, fault: Fault): null {
  link.end(encodeFatal(fault))
  return null
}

const TOO_MANY: Fault = {
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
