import { type Logger as BoltLogger, LogLevel } from '@slack/bolt'
import type { Logger } from '../../platform/logger.ts'

const MAX_LENGTH = 300

/** Slack's libraries write whole requests and answers at debug level: those lines are dropped, the others shortened. */
export function createBoltLogger(log: Logger): BoltLogger {
  const shorten = (messages: readonly unknown[]) => messages.map(String).join(' ').slice(0, MAX_LENGTH)
  return {
    debug: () => {},
    info: (...messages) => log.debug({ slack: shorten(messages) }, 'slack'),
    warn: (...messages) => log.warn({ slack: shorten(messages) }, 'slack'),
    error: (...messages) => log.error({ slack: shorten(messages) }, 'slack'),
    getLevel: () => LogLevel.INFO,
    setLevel: () => {},
    setName: () => {},
  }
}
