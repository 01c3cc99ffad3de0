import net, { type AddressInfo, type Socket } from 'node:net'
import type { Logger } from '../../platform/logger.ts'

export interface ListenerLimits {
  /** Connections at one time, of everybody. */
  readonly connections: number
  /** Of these, those that have not said who they are. When they are as many, the oldest of them makes room. */
  readonly unproven: number
  /** How long a connection may take to say who it is, in milliseconds. */
  readonly handshakeMs: number
}

export const LISTENER_LIMITS: ListenerLimits = { connections: 2000, unproven: 200, handshakeMs: 10_000 }

/** A connection that was just accepted. */
export interface Accepted {
  readonly socket: Socket
  /** It has said who it is: its time for that is over, and it makes room for nobody. */
  proven(): void
}

export interface TcpListener {
  /** @throws NodeJS.ErrnoException if the place cannot be listened on */
  listen(): Promise<{ readonly host: string; readonly port: number }>
  /** Accepts nobody any more. */
  close(): void
  /** Ends every connection. */
  destroy(): void
  readonly open: number
}

/** Takes connections, no more than the limits say. Those that send nothing keep nobody out. */
export function createTcpListener({
  place,
  limits = LISTENER_LIMITS,
  log,
  onConnection,
}: {
  place: { readonly host: string; readonly port: number }
  limits?: ListenerLimits
  log: Logger
  onConnection(accepted: Accepted): void
}): TcpListener {
  const open = new Set<Socket>()
  // In the order in which they came.
  const unproven = new Map<Socket, NodeJS.Timeout>()
  let isToBeTold = true

  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: false, keepAlive: true }, (socket) => {
    if (open.size >= limits.connections) {
      if (isToBeTold) log.warn({ open: open.size }, 'all connections are taken: new ones are refused')
      isToBeTold = false
      socket.destroy()
      return
    }
    if (open.size < limits.connections / 2) isToBeTold = true
    const [oldest] = unproven.keys()
    if (oldest && unproven.size >= limits.unproven) {
      forget(oldest)
      oldest.destroy()
    }
    open.add(socket)
    unproven.set(
      socket,
      setTimeout(() => socket.destroy(), limits.handshakeMs),
    )
    socket.once('close', () => {
      open.delete(socket)
      forget(socket)
    })
    // Until somebody else listens to it.
    socket.on('error', () => {})
    onConnection({ socket, proven: () => forget(socket) })
  })

  function forget(socket: Socket): void {
    clearTimeout(unproven.get(socket))
    unproven.delete(socket)
  }

  return {
    listen: () =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen(place.port, place.host, () => {
          server.off('error', reject)
          server.on('error', (error) => log.error({ err: error }, 'a listener failed'))
          // A server that listens on TCP has an address with a port.
          const { address: host, port } = server.address() as AddressInfo
          resolve({ host, port })
        })
      }),
    close() {
      server.close()
    },
    destroy() {
      server.close()
      for (const socket of open) socket.destroy()
    },
    get open() {
      return open.size
    },
  }
}
