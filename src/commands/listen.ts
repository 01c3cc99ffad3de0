import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
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

interface Place {
  readonly host: string
  readonly port: number
}

export function addressOf({ host, port }: Place, { isTls }: { isTls: boolean }): Address {
  const authority = host.includes(':') ? `[${host}]` : host
  return { host, port, url: `${isTls ? 'https' : 'http'}://${authority}:${port}` }
}

export async function listenForPeople(app: FastifyInstance, where: Place, how: { isTls: boolean }): Promise<Address> {
  await app.listen(where)
  return addressOf(boundPlace(app.server.address()), how)
}

export async function listenForMetrics(
  where: Place,
  parts: { registry: Registry; log: Logger },
): Promise<{ address: Address; close(): void }> {
  const server = createMetricsServer(parts)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where.port, where.host, resolve)
  })
  return {
    address: addressOf(boundPlace(server.address()), { isTls: false }),
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

function boundPlace(address: AddressInfo | string | null): Place {
  // A server that listens on TCP has an address with a port.
  const { address: host, port } = address as AddressInfo
  return { host, port }
}
