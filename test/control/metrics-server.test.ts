import type { AddressInfo } from 'node:net'
import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { createMetricsServer } from '../../src/control/metrics-server.ts'
import { createMetrics } from '../../src/platform/metrics.ts'

describe('the metrics listener', () => {
  const metrics = createMetrics()
  const server = createMetricsServer({ registry: metrics.registry, log: pino({ level: 'silent' }) })
  afterEach(() => server.close())

  it('answers GET /metrics and nothing else', async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo // it listens on TCP
    const base = `http://127.0.0.1:${port}`
    const response = await fetch(`${base}/metrics`)
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(await response.text()).toContain('# TYPE countersign_calls_total counter')
    expect((await fetch(`${base}/`)).status).toBe(404)
    expect((await fetch(`${base}/metrics`, { method: 'POST', body: 'x' })).status).toBe(404)
    expect((await fetch(`${base}/v1/approvals`)).status).toBe(404)
    server.closeAllConnections()
  })
})
