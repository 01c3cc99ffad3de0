import { z } from 'zod'
import type { Config } from '../config.ts'
import type { Acquaintance, ChatAccount } from '../domain/channel.ts'
import { formatParty, type Person } from '../domain/principal.ts'
import type { ChatLinks } from '../identity/chat-links.ts'
import type { People } from '../identity/people.ts'

/** Who is behind the accounts of chat services: those who linked theirs, and those whom the configuration names. */
export interface ChatPeople {
  find(account: ChatAccount, accounts: Readonly<Record<string, string>>): Promise<Acquaintance>
  /** How somebody who voted stands now; null if they may not act any more. */
  standing(voter: Person): Promise<Person | null>
}

/**
 * A link wins over the configuration: it was proved by the person, and its groups are those of now. An entry of the
 * configuration counts only for an account, and for a person, that has no link in that workspace.
 */
export function createChatPeople(parts: {
  readonly config: Pick<Config, 'channels'>
  readonly people: Pick<People, 'mapChatAccount' | 'standing'>
  /** Null where nobody can link anything. */
  readonly links: Pick<ChatLinks, 'find' | 'standing' | 'hasAccount'> | null
}): ChatPeople {
  const { config, people, links } = parts
  const named = namedIn(config)

  return {
    async find(account, accounts) {
      const linked = await links?.find(account)
      if (linked && !('fault' in linked && linked.fault === 'unlinked')) return linked
      const person = people.mapChatAccount(`${account.team}/${account.user}`, accounts)
      if (!person || (await links?.hasAccount(account, person))) return { fault: 'unlinked' }
      return { person }
    },

    async standing(voter) {
      if (voter.assurance !== 'slack' && voter.assurance !== 'teams') return people.standing(voter)
      const linked = await links?.standing(voter)
      if (linked) return linked
      return named.has(formatParty(voter)) ? people.standing(voter) : null
    },
  }
}

const namingSchema = z.looseObject({ people: z.record(z.string(), z.string()) })

/** Everybody whom the configuration gives a chat account, as `issuer|subject`. */
function namedIn({ channels }: Pick<Config, 'channels'>): ReadonlySet<string> {
  const named = new Set<string>()
  for (const options of Object.values(channels)) {
    for (const party of Object.values(namingSchema.safeParse(options).data?.people ?? {})) named.add(party)
  }
  return named
}
