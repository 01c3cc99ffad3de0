import { withdrawAllWithin } from '../approvals/end.ts'
import { headPath } from '../audit/open.ts'
import { recover } from '../audit/recover.ts'
import { loadConfig } from '../config.ts'
import { systemClock } from '../platform/clock.ts'
import { defineCommand } from './cli.ts'
import { openStoreBeside } from './open-store.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'

export const storeRecoverCommand = defineCommand({
  summary: 'Acknowledge the store as it is now, after a restore or a failover',
  details:
    'Gateways refuse every call while the store lacks entries that they have seen, or is another one. This withdraws ' +
    'every open approval, records the acknowledgement in the audit log, and lets them go on. Look first at what was lost.',
  options: {
    config: configOption,
    reason: { type: 'string', value: 'text', required: true, doc: 'What happened, for the audit log' },
    json: jsonOption,
  },
  async run({ options }, { kinds, quietLog, out }: Context) {
    const config = loadConfig(options.config ?? DEFAULT_CONFIG, kinds)
    const { database, keys, dataDir, close } = await openStoreBeside(config, quietLog)
    try {
      const { known, found, seq } = await recover({
        database,
        keys,
        path: headPath(dataDir),
        clock: systemClock,
        reason: options.reason,
        withdrawAll: withdrawAllWithin,
      })
      const lost = known === null ? null : Math.max(0, known.seq - found.seq)
      if (options.json) out(JSON.stringify({ seen: known?.seq ?? null, found: found.seq, lost, acknowledged_at: seq }))
      else {
        out(
          `the store ends at entry ${found.seq}; this gateway had seen ${known ? `entry ${known.seq}` : 'nothing of it'}`,
        )
        out(`acknowledged as entry ${seq}; gateways go on within a few seconds`)
      }
    } finally {
      await close()
    }
  },
})
