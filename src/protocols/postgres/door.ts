import { formatParty } from '../../domain/principal.ts'
import type { Room } from '../../transports/room.ts'
import type { Link } from '../../transports/tcp/link.ts'
import type { Accepted } from '../../transports/tcp/listener.ts'
import { type Entered, type EntranceParts, enter } from './entrance/enter.ts'
import { runSession, type Service } from './session.ts'
import { type ConnectParts, connect, TOO_MANY } from './upstream/connect.ts'
import type { UpstreamSession } from './upstream/open.ts'
import { encodeFatal, type Fault } from './wire/report.ts'

export interface DoorParts extends ConnectParts {
  readonly entrance: EntranceParts
  readonly service: Service
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
      const upstream = seat.take(1) ? await begin(entered, parts) : fail(entered.link, TOO_MANY)
      if (upstream) await runSession(entered, upstream, service)
    } finally {
      seat.end()
    }
  } catch (error) {
    service.log.error({ err: error, upstream: service.upstream.name }, 'a connection failed')
    socket.destroy()
  }
}

async function begin({ link, startup }: Entered, parts: DoorParts): Promise<UpstreamSession | null> {
  const upstream = await connect(parts, startup, link.gone)
  return 'code' in upstream ? fail(link, upstream) : upstream
}

function fail(link: Link, fault: Fault): null {
  link.end(encodeFatal(fault))
  return null
}
