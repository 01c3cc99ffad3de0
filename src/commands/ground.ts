import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import type { Metrics } from '../platform/metrics.ts'
import type { OpenStore } from './open-store.ts'

/** What every part of a running gateway stands on. */
export interface Ground extends Pick<OpenStore, 'database' | 'keys' | 'dataDir'> {
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
  /** What was started is ended in the opposite order. */
  readonly undo: AsyncDisposableStack
}
