import { expect, it } from 'vitest'
import { createMetrics } from '../../src/platform/metrics.ts'

it('exposes every metric under the prefix countersign_, and those of the process', async () => {
  const metrics = createMetrics()
  metrics.calls.inc({ upstream: 'billing', effect: 'allow', outcome: 'forwarded' })
  const text = await metrics.registry.metrics()
  expect(text).toContain('countersign_calls_total{upstream="billing",effect="allow",outcome="forwarded"} 1')
  expect(text).toContain('process_resident_memory_bytes')
  const own = metrics.registry.getMetricsAsArray().map(({ name }) => name)
  expect(own.filter((name) => !/^(countersign|process|nodejs)_/.test(name))).toEqual([])
})

it('keeps two sets of metrics apart', async () => {
  const [one, other] = [createMetrics(), createMetrics()]
  one.policyRefused.inc()
  expect(await other.registry.getSingleMetricAsString('countersign_policy_refused_total')).toContain('_total 0')
})
