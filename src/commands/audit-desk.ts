import { openLane } from '../approvals/lane.ts'
import { namesAtVotes } from '../approvals/voters.ts'
import { headPath } from '../audit/open.ts'
import { createAuditReader } from '../audit/reader.ts'
import type { Config } from '../config.ts'
import type { AuditDesk } from '../control/desk.ts'
import type { Ground } from './ground.ts'

/** Connections that people who read the log use at once: votes and calls do not wait for an auditor. */
const AT_ONCE = 2

/** The audit log, for the console. */
export function openAuditDesk(
  { agent_issuers: agents, people }: Pick<Config, 'agent_issuers' | 'people'>,
  ground: Pick<Ground, 'database' | 'keys' | 'dataDir'>,
): AuditDesk {
  const database = openLane(ground.database, { atOnce: AT_ONCE })
  return createAuditReader({
    database,
    headPath: headPath(ground.dataDir),
    checkpoint: ground.keys.checkpoint,
    issuers: [...agents, ...people].map(({ issuer }) => issuer),
    namesAtVotes: (approvals) => namesAtVotes({ database, keys: ground.keys }, approvals),
  })
}
