import http from 'node:http'
import type https from 'node:https'
import type { Socket } from 'node:net'
import type { Logger } from '../../platform/logger.ts'

/**
 * From this share of its connections on, a server makes room for those that come. Not sooner: while most are busy, what
 * is left is for those that were just opened and have a request on its way.
 */
const CROWDED = 0.99

/**
 * Limits a server's connections without letting those who do nothing keep others out. When nearly all are taken, each
 * one that comes ends the one that has been idle for the longest time: on which no request is under way, or none has
 * come whole yet. A connection that was just opened is among the last to go, so that whoever has a request can send it.
 *
 * @param events the server's own events that begin a request; to listen to others changes what a server does
 */
export function limitConnections(
  server: http.Server | https.Server,
  { most, events, log }: { most: number; events: readonly string[]; log: Logger },
): void {
  server.maxConnections = most
  const crowdedAt = Math.floor(most * CROWDED)
  // By the peer's address and port: with TLS a request names another socket than the one that was accepted.
  const open = new Map<string, Socket>()
  // In the order in which they became idle.
  const idle = new Map<string, Socket>()
  let isToBeTold = true

  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket)
    if (open.size < crowdedAt / 2) isToBeTold = true
    if (open.size >= crowdedAt) endLongestIdle()
    open.set(peer, socket)
    idle.set(peer, socket)
    socket.once('close', () => {
      // Its port may have been taken again by now.
      if (open.get(peer) !== socket) return
      open.delete(peer)
      idle.delete(peer)
    })
  })

  for (const event of events) {
    server.on(event, (request: http.IncomingMessage, response: unknown) => {
      const peer = peerOf(request.socket)
      const socket = open.get(peer)
      idle.delete(peer)
      // What was upgraded never comes back.
      if (!(response instanceof http.ServerResponse)) return
      response.once('close', () => {
        if (socket && open.get(peer) === socket) idle.set(peer, socket)
      })
    })
  }

  function endLongestIdle(): void {
    for (const [peer, socket] of idle) {
      idle.delete(peer)
      // Its `close` comes later, after more have been accepted.
      open.delete(peer)
      socket.destroy()
      break
    }
    if (isToBeTold) log.warn({ open: open.size, most }, 'nearly all connections are taken: idle ones are ended')
    isToBeTold = false
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
