import type { Acquaintance, ChatAccount } from '../../domain/channel.ts'
import type { Person } from '../../domain/principal.ts'
import type { Logger } from '../../platform/logger.ts'
import type { SlackAnswer } from './client.ts'
import type { Members } from './members.ts'
import type { Command, Press, Submission } from './payload.ts'
import type { PersonFault, Told } from './wording.ts'
import type { Workspace } from './workspace.ts'

export type Recognised = Told & ({ readonly fault: null; readonly person: Person } | { readonly fault: PersonFault })

type Payload = Press | Submission | Command

export type Recognise = (payload: Payload, signal: AbortSignal) => Promise<Recognised>

/**
 * From a Slack account to the person it is linked to: the workspace is the app's own, Slack says that the account is a
 * full and active member of it, and somebody linked it. Whatever cannot be found out is a no.
 */
export function createRecognise(parts: {
  readonly workspace: (signal: AbortSignal) => Promise<SlackAnswer<Workspace>>
  readonly members: Members
  readonly findPerson: (account: ChatAccount) => Acquaintance | Promise<Acquaintance>
  /** Where this account can be linked; null if it cannot. */
  readonly invite: (account: ChatAccount) => string | null
  readonly log: Logger
}): Recognise {
  const { workspace, members, findPerson, invite, log } = parts

  return async (payload, signal) => {
    const { id: user } = payload.user
    const told: Told = { key: `${homeOf(payload) ?? payload.team.id}/${user}`, invitation: null }
    const own = await workspace(signal)
    if (!own.ok) return { ...told, fault: 'unconfirmed' }
    const { teamId: team } = own.data
    if (teamsOf(payload).some((one) => one !== team)) return { ...told, fault: 'foreign' }
    const fault = await members.check(user, team, signal)
    if (fault) return { ...told, fault }
    const account = { service: 'slack', team, user }
    try {
      const found = await findPerson(account)
      if ('person' in found) return { ...told, fault: null, person: found.person }
      return { key: told.key, invitation: found.fault === 'away' ? null : invite(account), fault: found.fault }
    } catch (error) {
      log.error({ err: error }, 'the person behind a Slack account could not be looked up')
      return { ...told, fault: 'unconfirmed' }
    }
  }
}

function teamsOf(payload: Payload): string[] {
  const installed = 'view' in payload ? payload.view.app_installed_team_id : undefined
  return [payload.team.id, homeOf(payload), installed].filter((team) => team !== undefined)
}

/** The workspace that the person belongs to, where Slack says it. */
function homeOf({ user }: Payload): string | undefined {
  return 'team_id' in user ? user.team_id : undefined
}
