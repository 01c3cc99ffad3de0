import type { Person } from '../domain/principal.ts'

/** A person as they stand now, with the groups they have now; null if they may not act any more. */
export type Standing = (voter: Person) => Promise<Person | null>
