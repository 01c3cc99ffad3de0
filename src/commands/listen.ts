import type { AddressInfo } from 'node:net'
import type { Registry } from 'prom-client'
import { createMetricsServer } from '../control/metrics-server.ts'
import type { Logger } from '../platform/logger.ts'

/** Where a listener listens. */
export interface Address {
  readonly host: string
  readonly port: number
  /** On this machine; people and agents elsewhere use its public URL. */
  readonly url: string
}

export function addressOf({ host, port }: { host: string; port: number }, { isTls }: { isTls: boolean }): Address {
  const authority = host.includes(':') ? `[${host}]` : host
  return { host, port, url: `${isTls ? 'https' : 'http'}://${authority}:${port}` }
}

export async function listenForMetrics(
  where: { host: string; port: number },
  parts: { registry: Registry; log: Logger },
): Promise<{ address: Address; close(): void }> {
  const server = createMetricsServer(parts)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where.port, where.host, resolve)
  })
  // A server that listens on TCP has an address with a port.
  const { address: host, port } = server.address() as AddressInfo
  return {
    address: addressOf({ host, port }, { isTls: false }),
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}
