import { isRefusal } from '../domain/refusal.ts'
import type { PeopleDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import type { NoticeWire, WhoamiWire } from './wire.ts'
import { writePerson } from './write.ts'

/** Tells a person who their token says they are, and whether they may vote with it. */
export function createWhoami(people: PeopleDesk, notices: () => readonly NoticeWire[]) {
  return async ({ person, token }: Asked<'GET /v1/whoami'>): Promise<WhoamiWire> => {
    const voter = await people.identify(token, 'vote')
    return writePerson(person, { mayVote: !isRefusal(voter), notices: notices() })
  }
}
