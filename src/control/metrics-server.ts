import http from 'node:http'
import type { Registry } from 'prom-client'
import type { Logger } from '../platform/logger.ts'

const TIMEOUT_MS = 10_000

/** Answers GET /metrics, and nothing else. It listens when told to, on a listener that agents do not reach. */
export function createMetricsServer({ registry, log }: { registry: Registry; log: Logger }): http.Server {
  const limits = { requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS, maxHeaderSize: 8 * 1024 }
  const server = http.createServer(limits, (request, response) => {
    request.resume()
    const path = request.url?.split('?', 1)[0]
    if (path !== '/metrics' || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('there is only GET /metrics\n')
      return
    }
    registry
      .metrics()
      .then((text) => {
        response.writeHead(200, { 'content-type': registry.contentType, 'cache-control': 'no-store' }).end(text)
      })
      .catch((error: unknown) => {
        log.error({ event: 'metrics_failed', err: error }, 'metrics could not be collected')
        response.writeHead(500).end()
      })
  })
  server.maxConnections = 50
  // Fifty connections that say nothing would leave nobody to look.
  server.timeout = 2 * TIMEOUT_MS
  return server
}
