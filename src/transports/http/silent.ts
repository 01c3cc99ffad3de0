import type http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'

/** Each begins a request, on a server that listens to all of them. */
export const REQUEST_EVENTS = ['request', 'checkContinue', 'checkExpectation', 'connect', 'upgrade'] as const

/**
 * For a server that listens to all of `REQUEST_EVENTS` itself: what it does without a listener changes with one.
 *
 * Ends connections on which no request came whole in time. Node's time-outs begin with a request's first byte, so that a
 * connection that never sends one would take a place for ever.
 */
export function endSilentConnections(server: http.Server | https.Server, afterMs: number): void {
  const waiting = new WeakMap<object, NodeJS.Timeout>()

  function begin(socket: Socket): void {
    const timer = setTimeout(() => socket.destroy(), afterMs)
    timer.unref()
    waiting.set(socket, timer)
    socket.once('close', () => clearTimeout(timer))
  }

  // Until then, the time-out for the handshake counts.
  server.on(server instanceof https.Server ? 'secureConnection' : 'connection', begin)
  for (const event of REQUEST_EVENTS) {
    server.on(event, ({ socket }: http.IncomingMessage) => clearTimeout(waiting.get(socket)))
  }
}
