import type { Person } from '../../domain/principal.ts'
import type { Logger } from '../../platform/logger.ts'
import type { SlackAnswer } from './client.ts'
import type { Members } from './members.ts'
import type { Press, Submission } from './payload.ts'
import type { Fault } from './wording.ts'
import type { Workspace } from './workspace.ts'

export type Recognised =
  | { readonly fault: null; readonly key: string; readonly person: Person }
  | { readonly fault: Fault; readonly key: string }

export type Recognise = (payload: Press | Submission, signal: AbortSignal) => Promise<Recognised>

/**
 * From a Slack account to the person it is linked to: the workspace is the app's own, Slack says that the account is a
 * full and active member of it, and somebody linked it. Whatever cannot be found out is a no.
 */
export function createRecognise(parts: {
  readonly workspace: (signal: AbortSignal) => Promise<SlackAnswer<Workspace>>
  readonly members: Members
  readonly findPerson: (teamUserKey: string) => Person | null | Promise<Person | null>
  readonly log: Logger
}): Recognise {
  const { workspace, members, findPerson, log } = parts

  return async (payload, signal) => {
    const key = `${payload.user.team_id ?? payload.team.id}/${payload.user.id}`
    const own = await workspace(signal)
    if (!own.ok) return { fault: 'unconfirmed', key }
    const { teamId } = own.data
    if (teamsOf(payload).some((team) => team !== teamId)) return { fault: 'foreign', key }
    const fault = await members.check(payload.user.id, teamId, signal)
    if (fault) return { fault, key }
    try {
      const person = await findPerson(key)
      return person ? { fault: null, key, person } : { fault: 'unlinked', key }
    } catch (error) {
      log.error({ err: error }, 'the person behind a Slack account could not be looked up')
      return { fault: 'unconfirmed', key }
    }
  }
}

function teamsOf(payload: Press | Submission): string[] {
  const installed = payload.type === 'view_submission' ? payload.view.app_installed_team_id : undefined
  return [payload.team.id, payload.user.team_id, installed].filter((team) => team !== undefined)
}
