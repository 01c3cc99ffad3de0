import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { createMetricsServer } from '../../src/control/metrics-server.ts'
import { createControlServer } from '../../src/control/server.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { createGatewayServer } from '../../src/transports/http/server.ts'
import { fakeAgents, fakePeople, fakeQueue, personOf } from '../control/people.ts'

const log = createLogger({ level: 'silent' })
const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** Resolves when the other side ended it, or throws. */
async function whenEnded(port: number, withinMs: number, bytes = ''): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  if (bytes !== '') socket.write(bytes)
  const ended = new Promise<string>((resolve) => {
    socket.resume().once('close', () => resolve('ended'))
  })
  try {
    expect(await Promise.race([ended, sleep(withinMs, 'open')])).toBe('ended')
  } finally {
    socket.destroy()
  }
}

function portOf(server: { address(): unknown }): number {
  const address = server.address()
  return typeof address === 'object' && address !== null && 'port' in address ? Number(address.port) : 0
}

describe('connections on which nothing is said', () => {
  it('do not take the places of those who call', async () => {
    const server = createGatewayServer({
      host: '127.0.0.1',
      port: 0,
      tls: null,
      isBehindTlsProxy: false,
      log,
      newCallId,
      onMalformed: () => undefined,
      headersTimeoutMs: 100,
    })
    closers.push(() => server.close(0))
    const { port } = await server.listen()
    await whenEnded(port, 2_000)
    await whenEnded(port, 7_000, 'GET / HTTP/1.1\r\n')
  })

  it('do not take the places of people, nor of those who look at metrics', async () => {
    const control = await createControlServer({
      agents: fakeAgents(),
      queue: fakeQueue([]),
      people: fakePeople([]),
      signIn: { issuers: [] },
      observed: () => [],
      callbacks: [],
      console: null,
      publicUrl: null,
      tls: null,
      log,
      clock: systemClock,
    })
    closers.push(() => control.close())
    const metrics = createMetricsServer({ registry: createMetrics().registry, log })
    closers.push(() => metrics.close())
    for (const { timeout } of [control.server, metrics]) {
      expect(timeout).toBeGreaterThan(0)
      expect(timeout).toBeLessThanOrEqual(60_000)
    }
    control.server.timeout = 100
    await control.listen({ host: '127.0.0.1', port: 0 })
    await whenEnded(portOf(control.server), 2_000)
  })
})

describe('what a person may look for', () => {
  it('is refused where the store could not take it', async () => {
    const finn = personOf('finn', { groups: ['finance'] })
    const control = await createControlServer({
      agents: fakeAgents(),
      queue: fakeQueue([]),
      people: fakePeople([finn]),
      signIn: { issuers: [] },
      observed: () => [],
      callbacks: [],
      console: null,
      publicUrl: null,
      tls: null,
      log,
      clock: systemClock,
    })
    closers.push(() => control.close())
    await control.listen({ host: '127.0.0.1', port: 0 })
    const response = await fetch(`http://127.0.0.1:${portOf(control.server)}/v1/approvals?upstream=%00`, {
      headers: { authorization: 'Bearer finn' },
    })
    expect(response.status).toBe(400)
  })
})
