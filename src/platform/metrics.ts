import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type Metrics = ReturnType<typeof createMetrics>

/**
 * Every metric of the gateway, on a registry of its own. Labels take only values from closed lists or from the
 * configuration (upstreams, channels): nothing an agent chooses may open a new series.
 */
export function createMetrics() {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })

  return {
    registry,
    calls: new Counter({
      name: 'countersign_calls_total',
      help: 'Calls that ended, by upstream, by the effect policy gave them and by their outcome',
      labelNames: ['upstream', 'effect', 'outcome'] as const,
      registers,
    }),
    holdSeconds: new Histogram({
      name: 'countersign_hold_seconds',
      help: 'Seconds from opening an approval to its decision, by upstream and by the state it ended in',
      labelNames: ['upstream', 'state'] as const,
      buckets: [1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 14_400, 86_400],
      registers,
    }),
    overrides: new Counter({
      name: 'countersign_overrides_total',
      help: 'Approvals that one person gave in place of the quorum, by upstream',
      labelNames: ['upstream'] as const,
      registers,
    }),
    grantUses: new Counter({
      name: 'countersign_grant_uses_total',
      help: 'Approved calls that grants stood for, each grant counted, by upstream',
      labelNames: ['upstream'] as const,
      registers,
    }),
    breakerTrips: new Counter({
      name: 'countersign_breaker_trips_total',
      help: 'Circuit breakers that tripped, by breaker and by what became of the agent',
      labelNames: ['breaker', 'effect'] as const,
      registers,
    }),
    pendingApprovals: new Gauge({
      name: 'countersign_pending_approvals',
      help: 'Approvals that wait for people, as the store counts them',
      registers,
    }),
    auditBatchEntries: new Histogram({
      name: 'countersign_audit_batch_entries',
      help: 'Entries in one commit of the audit log',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
      registers,
    }),
    auditAppendSeconds: new Histogram({
      name: 'countersign_audit_append_seconds',
      help: 'Seconds one commit of the audit log took',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    auditBytes: new Histogram({
      name: 'countersign_audit_entry_bytes',
      help: 'Bytes of one entry as it is chained',
      buckets: [256, 512, 1024, 2048, 4096, 8192, 16_384, 65_536],
      registers,
    }),
    policyVersion: new Gauge({
      name: 'countersign_policy_version',
      help: 'Version of the policy set this process decides by; 0 if it has none',
      registers,
    }),
    policyRefused: new Counter({
      name: 'countersign_policy_refused_total',
      help: 'Policy sets that could not be loaded',
      registers,
    }),
    channelLagSeconds: new Gauge({
      name: 'countersign_channel_lag_seconds',
      help: 'Age of the oldest message that a channel still owes its reviewers, in seconds',
      labelNames: ['channel'] as const,
      registers,
    }),
    channelDeliveries: new Counter({
      name: 'countersign_channel_deliveries_total',
      help: 'Attempts to deliver a message, by channel and result',
      labelNames: ['channel', 'result'] as const,
      registers,
    }),
    barred: new Counter({
      name: 'countersign_barred_total',
      help: 'Calls of known agents that were refused before they were read, by code',
      labelNames: ['code'] as const,
      registers,
    }),
    tokensRefused: new Counter({
      name: 'countersign_tokens_refused_total',
      help: 'Credentials that were not accepted, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    malformed: new Counter({
      name: 'countersign_malformed_total',
      help: 'Requests that were not calls, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    heldBytes: new Gauge({
      name: 'countersign_held_bytes',
      help: 'Bytes of held calls that count against the budget hold.held_bytes',
      registers,
    }),
  }
}
