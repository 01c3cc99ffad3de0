import type http from 'node:http'
import https from 'node:https'
import type { Socket } from 'node:net'

/**
 * For a server that listens to all of these events itself: what it does without a listener changes with one.
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
  for (const event of ['request', 'checkContinue', 'checkExpectation', 'connect', 'upgrade']) {
    server.on(event, ({ socket }: http.IncomingMessage) => clearTimeout(waiting.get(socket)))
  }
}
