import type { Appended, Entry } from '../domain/entry.ts'
import type { Database, Tx } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { HasSchema } from '../platform/schema.ts'
import type { Ended } from './ended.ts'

/** What everything about approvals stands on. */
export interface Ground {
  readonly database: Database
  readonly keys: Pick<Keys, 'mac' | 'payload'>
  readonly ended: Ended
  readonly hasSchema: HasSchema
  /** Chains entries inside a transaction; called last in it, because it takes the lock of the chain's head. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  readonly metrics: Pick<
    Metrics,
    | 'holdSeconds'
    | 'pendingApprovals'
    | 'heldBytes'
    | 'channelLagSeconds'
    | 'channelDeliveries'
    | 'overrides'
    | 'grantUses'
  >
  readonly log: Logger
}
