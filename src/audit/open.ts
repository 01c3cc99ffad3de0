import { join } from 'node:path'
import type { Clock } from '../platform/clock.ts'
import type { Database } from '../platform/database.ts'
import type { Keys } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { Limits } from './group-commit.ts'
import { type AuditLog, openAuditLog } from './log.ts'
import { type Failover, openStoreGuard, type StoreGuard } from './store-guard.ts'

/** The file in `data_dir` that holds the last entry seen, signed. A new replica of an existing store is given one. */
export function headPath(dataDir: string): string {
  return join(dataDir, 'head.json')
}

interface Options {
  readonly database: Database
  readonly keys: Pick<Keys, 'checkpoint' | 'mac'>
  readonly dataDir: string
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Pick<Metrics, 'auditBatchEntries' | 'auditAppendSeconds' | 'auditBytes'>
  readonly pollMs?: number
  readonly limits?: Limits
}

export interface OpenAudit {
  readonly audit: AuditLog
  readonly guard: StoreGuard
  /**
   * Begins to compare the store with what was seen of it. `withdrawOlder` ends every open approval from before that
   * moment (milliseconds since the epoch), with reason `store_failover`. `noteEnded` is told of approvals that anybody's
   * entries say are over, within a second or so.
   */
  follow(withdrawOlder: (thanMs: number) => Promise<void>, noteEnded?: (approvalIds: readonly string[]) => void): void
  close(): Promise<void>
}

/**
 * The log, and the guard of the store it lies in. If the store is not the one it was, both run, and the log refuses what
 * would let a call go on. Throws `GatewayError('store')` if the store cannot be read.
 */
export async function openAudit(options: Options): Promise<OpenAudit> {
  const { database, clock, dataDir } = options
  const guard = await openStoreGuard({ ...options, path: headPath(dataDir) })
  const audit = await openAuditLog({ ...options, database, clock, guard })
  return {
    audit,
    guard,
    follow(withdrawOlder, noteEnded) {
      guard.follow(async (found) => {
        await withdrawOlder(found.olderThanMs)
        await audit.append({ kind: 'store_failover', detail: describe(found) })
      }, noteEnded)
    },
    async close() {
      await audit.close()
      await guard.close()
    },
  }
}

function describe({ doubt, known, found }: Failover) {
  return {
    doubt,
    found: { seq: found.seq, system_identifier: found.systemIdentifier, timeline: found.timeline },
    known: known && {
      seq: known.seq,
      hash: known.hash.toString('hex'),
      system_identifier: known.systemIdentifier,
      timeline: known.timeline,
    },
  }
}
