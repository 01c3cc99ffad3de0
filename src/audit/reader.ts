import type { Tx } from '../platform/database.ts'
import type { KeyPair, SigningKey } from '../platform/keys.ts'
import { type EntryInPlace, type LogEntry, readInPlace } from './entries.ts'
import { type NamesAtVotes, nameReviewers } from './names.ts'
import { type Cell, POPULATIONS, type PopulationName } from './populations.ts'
import { type Found, findPage, REACH, type Reach, type Search, scan } from './search.ts'
import { type ChainState, readChainState } from './state.ts'

/** The log for people who read it without SQL. */
export interface AuditReader {
  /** At most `limit` entries, newest first, before the one with this number. */
  find(search: Search, page: { before: number | null; limit: number }): Promise<Found>
  /** Null if there is no such entry. */
  show(seq: number): Promise<EntryInPlace | null>
  /** What the identity provider called the reviewers of these entries when they voted, by the entries' numbers. */
  namesOf(entries: readonly LogEntry[]): Promise<ReadonlyMap<number, string>>
  chain(): Promise<ChainState>
  /** All that is looked for, oldest first, a batch at a time, after the entry with this number. */
  scan(search: Search, after: number): AsyncIterable<readonly LogEntry[]>
  /** All of one sort, oldest first, a batch at a time, after the entry with this number. */
  population(name: PopulationName, search: Search, after: number): AsyncIterable<readonly (readonly Cell[])[]>
}

interface Parts {
  /** Something that keeps what is read here from taking every connection. */
  readonly database: Tx
  readonly headPath: string
  readonly checkpoint: KeyPair<SigningKey>
  /** Whose subjects may be written without their issuer. */
  readonly issuers: readonly string[]
  readonly namesAtVotes: NamesAtVotes
  readonly reach?: Reach
}

export function createAuditReader(parts: Parts): AuditReader {
  const { database: tx, issuers, namesAtVotes, reach = REACH } = parts
  const ground = { tx, issuers: [...new Set(issuers)], reach }
  return {
    find: (search, page) => findPage(ground, search, page),
    show: (seq) => readInPlace(tx, seq),
    namesOf: (entries) => nameReviewers(namesAtVotes, entries),
    chain: () => readChainState(tx, parts),
    scan: (search, after) => scan(ground, search, after),
    async *population(name, search, after) {
      const { kinds, write } = POPULATIONS[name]
      for await (const entries of scan(ground, { ...search, kinds }, after)) {
        yield entries.length === 0 ? [] : await write({ tx, namesAtVotes }, entries)
      }
    },
  }
}
