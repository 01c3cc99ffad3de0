import type { Clock } from '../platform/clock.ts'
import type { Printer } from './cli.ts'

/** What the commands for people are run with. */
export interface PersonContext extends Printer {
  /** Asks whoever sits at the terminal; null where nobody does. */
  readonly ask: ((question: string) => Promise<string>) | null
  /** How many characters a row has of the terminal that lines go to; Infinity where there is none. */
  readonly columns: { readonly out: number; readonly err: number }
  /** Aborts when the command is interrupted. */
  readonly signal: AbortSignal
  readonly clock: Clock
  /** The folder of this user's settings for countersign. */
  readonly configDir: string
  /** The control listener to ask where the command line names none (COUNTERSIGN_URL). */
  readonly defaultUrl: string | null
}

export const URL_OPTION = {
  type: 'string',
  value: 'url',
  doc: 'The control listener, https://approvals.example.com; COUNTERSIGN_URL, or the only one signed in to, if left out',
} as const

export const ISSUER_OPTION = {
  type: 'string',
  value: 'name',
  doc: 'Which identity provider to sign in with, where there are several',
} as const

export const JSON_OPTION = { type: 'boolean', doc: 'Prints JSON' } as const

/** Where settings are kept (XDG Base Directory Specification): relative values of XDG_CONFIG_HOME count for nothing. */
export function settingsFolder(xdgConfigHome: string | undefined, home: string): string {
  return `${xdgConfigHome?.startsWith('/') ? xdgConfigHome : `${home}/.config`}/countersign`
}
