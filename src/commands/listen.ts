import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import { createMetricsServer } from '../control/metrics-server.ts'
import { GatewayError } from '../domain/error.ts'
import { isErrno } from '../platform/files.ts'
import type { Logger } from '../platform/logger.ts'
import type { Place } from '../platform/setting-kinds.ts'

/** Where a listener listens. */
export interface Address {
  readonly host: string
  readonly port: number
  /** On this machine; people and agents elsewhere use its public URL. */
  readonly url: string
}

export function addressOf(place: Place, { isTls }: { isTls: boolean }): Address {
  return { ...place, url: `${isTls ? 'https' : 'http'}://${formatPlace(place)}` }
}

export function formatPlace({ host, port }: Place): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** @throws GatewayError `config` if the place is taken, or not this machine's. */
export async function listening<T>(name: string, { host, port }: Place, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen()
  } catch (error) {
    if (!isErrno(error, 'EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES')) throw error
    throw new GatewayError('config', `${name}.listen: ${host}:${port} cannot be listened on (${error.code})`, {
      cause: error,
    })
  }
}

export async function listenForPeople(app: FastifyInstance, where: Place, how: { isTls: boolean }): Promise<Address> {
  await listening('control', where, () => app.listen(where))
  return addressOf(boundPlace(app.server.address()), how)
}

export async function listenForMetrics(
  where: Place,
  parts: { registry: Registry; log: Logger },
): Promise<{ address: Address; close(): void }> {
  const server = createMetricsServer(parts)
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(where.port, where.host, resolve)
    })
  await listening('metrics', where, listen)
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
