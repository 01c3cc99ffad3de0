import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Acquaintance, ChatAccount } from '../domain/channel.ts'
import type { Appended, Entry, Kind } from '../domain/entry.ts'
import { GatewayError } from '../domain/error.ts'
import { isSameParty, type Party, type Person } from '../domain/principal.ts'
import type { Clock } from '../platform/clock.ts'
import { type Database, sqlState, type Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type Keys, openValue, sealValue } from '../platform/keys.ts'
import type { Logger } from '../platform/logger.ts'
import type { People } from './people.ts'
import type { Sessions } from './sessions.ts'
import type { SignedIn, SignIns } from './sign-in.ts'
import { forgetUsed, useUp } from './tickets.ts'

/** A chat account, and the person who proved that it is theirs. */
export interface ChatLink {
  readonly id: string
  readonly account: ChatAccount
  readonly person: Party & { readonly name: string | null }
  /** Milliseconds since the epoch. */
  readonly linkedAt: number
}

/** Why an account was not bound. */
export type BindFault = 'used' | 'account_taken' | 'person_taken' | 'signed_out'

export interface ChatLinks {
  /** Who is behind an account, with groups that are no older than `freshMs`. */
  find(account: ChatAccount): Promise<Acquaintance>
  /** How somebody who voted through a chat service stands now; null if they have no link there any more. */
  standing(voter: Person): Promise<Person | null>
  /** Whether this person has an account of that workspace already. */
  hasAccount(where: Omit<ChatAccount, 'user'>, person: Party): Promise<boolean>
  /** Of one person, or everybody's; newest first. */
  list(person: Party | null): Promise<readonly ChatLink[]>
  /** Binds an account to the person of a session, and takes over what their groups are asked with. */
  bind(how: {
    readonly account: ChatAccount
    readonly session: { readonly id: string; readonly person: Person }
    /** SHA-256 of the ticket, which is used up. */
    readonly ticket: { readonly hash: Buffer; readonly endsAt: number }
  }): Promise<{ readonly link: ChatLink } | { readonly fault: BindFault }>
  /** False if there is no such link, or none that this person may end: their own, or anybody's as an admin. */
  unlink(how: { readonly id: string; readonly by: Person; readonly via: string }): Promise<boolean>
  /** Forgets tickets that have ended. */
  sweep(): Promise<void>
}

interface Row {
  readonly id: string
  readonly service: string
  readonly team: string
  readonly account: string
  readonly issuer: string
  readonly subject: string
  readonly linked_at: Date
  readonly sealed: Buffer
  readonly kid: string
  readonly mac: Buffer
}

/** A row whose MAC holds, and what was sealed with it. */
interface Genuine {
  readonly row: Row
  readonly signedIn: SignedIn
}

const LABEL = 'countersign chat link v1'
const COLUMNS = 'id, service, team, account, issuer, subject, linked_at, sealed, kid, mac'
const MOST_LISTED = 1000
/** More than asking an identity provider may take. */
const ASKING_MS = 30_000
const LOOK_MS = 100
const MOST_LOOKS = 60
const ATTEMPTS = 4

export function createChatLinks(parts: {
  readonly database: Database
  readonly keys: Pick<Keys, 'mac' | 'cookie'>
  /** Chains entries in a transaction; called last in it. */
  within(tx: Tx, entries: readonly Entry[]): Promise<Appended>
  readonly sessions: Pick<Sessions, 'handOver'>
  readonly signIns: Pick<SignIns, 'renew'>
  readonly people: Pick<People, 'standing'>
  readonly clock: Pick<Clock, 'now'>
  readonly freshMs: number
  readonly log: Logger
}): ChatLinks {
  const { database, keys, within, sessions, signIns, people, clock, freshMs, log } = parts
  const isFresh = ({ signedIn }: Genuine) => clock.now() - signedIn.checkedAt < freshMs

  function open(row: Row): Genuine | null {
    const isGenuine = isValidMac(keys.mac, LABEL, macParts(row), row)
    const opened = isGenuine ? openValue(keys.cookie, row.sealed, [LABEL, ...macParts(row)]) : null
    if (!opened) {
      log.error({ event: 'chat_link_forged', link: row.id }, 'a link of a chat account was not made by a gateway')
      return null
    }
    // Nobody but `seal` wrote it: it was authenticated.
    const signedIn = JSON.parse(opened.toString('utf8')) as SignedIn
    return isSameParty(signedIn.person, row) ? { row, signedIn } : null
  }

  function seal(row: Omit<Row, 'sealed' | 'kid' | 'mac'>, signedIn: SignedIn): Buffer {
    return sealValue(keys.cookie, Buffer.from(JSON.stringify(signedIn), 'utf8'), [LABEL, ...macParts(row)])
  }

  async function read(tx: Tx, where: string, params: readonly unknown[]): Promise<readonly Genuine[]> {
    const text = `SELECT ${COLUMNS} FROM chat_link WHERE ${where} ORDER BY linked_at DESC, id LIMIT ${MOST_LISTED}`
    const { rows } = await tx.query<Row>(text, [...params]).catch((error: unknown) => {
      // The schema of the release before has no links.
      if (sqlState(error) === '42P01') return { rows: [] }
      throw error
    })
    return rows.flatMap((row) => open(row) ?? [])
  }

  /** Those that stand in the way of a new link, and may be forgotten for it; or why not. */
  async function readObstacles(
    tx: Tx,
    { service, team, user }: ChatAccount,
    person: Party,
  ): Promise<readonly string[] | BindFault> {
    const { rows } = await tx.query<Row>(
      `SELECT ${COLUMNS} FROM chat_link
       WHERE service = $1 AND team = $2 AND (account = $3 OR (issuer = $4 AND subject = $5)) FOR UPDATE`,
      [service, team, user, person.issuer, person.subject],
    )
    // The same account of the same person once more is replaced, and so are rows that no gateway made.
    const other = rows.find((row) => open(row) && !(row.account === user && isSameParty(row, person)))
    if (other) return other.account === user ? 'account_taken' : 'person_taken'
    return rows.map(({ id }) => id)
  }

  async function readOf({ service, team, user }: ChatAccount): Promise<Genuine | null> {
    const [found] = await read(database, 'service = $1 AND team = $2 AND account = $3', [service, team, user])
    return found ?? null
  }

  /** Asks the identity provider, or waits until another request, perhaps of another replica, has. */
  async function renew(account: ChatAccount, { row: { id } }: Genuine): Promise<Genuine | null> {
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (await claim(id)) return ask(account, id)
      await sleep(LOOK_MS)
      const found = await readOf(account)
      if (!found || isFresh(found)) return found
    }
    throw new GatewayError('upstream', 'the identity provider was asked, and did not answer in time')
  }

  async function claim(id: string): Promise<boolean> {
    const { rowCount } = await database.query(
      `UPDATE chat_link SET asking_until = clock_timestamp() + $2 * interval '1 millisecond'
       WHERE id = $1 AND (asking_until IS NULL OR asking_until < clock_timestamp())`,
      [id, ASKING_MS],
    )
    return rowCount === 1
  }

  async function ask(account: ChatAccount, id: string): Promise<Genuine | null> {
    try {
      // What was read before its turn came may be old by now, and a refresh token is taken once.
      const found = await readOf(account)
      if (!found || found.row.id !== id || isFresh(found)) return found
      const keep = (signedIn: SignedIn) =>
        database.query('UPDATE chat_link SET sealed = $2 WHERE id = $1', [id, seal(found.row, signedIn)])
      const renewed = await signIns.renew(found.signedIn, async (tokens) => {
        await keep({ ...found.signedIn, tokens })
      })
      if (!renewed) return null
      await keep(renewed)
      return { ...found, signedIn: renewed }
    } finally {
      await database.query('UPDATE chat_link SET asking_until = NULL WHERE id = $1', [id])
    }
  }

  async function bindOnce(how: Parameters<ChatLinks['bind']>[0]): ReturnType<ChatLinks['bind']> {
    try {
      return await database.transaction((tx) => bindIn(tx, how))
    } catch (error) {
      if (error instanceof SignedOut) return { fault: 'signed_out' }
      throw error
    }
  }

  async function bindIn(
    tx: Tx,
    { account, session, ticket }: Parameters<ChatLinks['bind']>[0],
  ): ReturnType<ChatLinks['bind']> {
    const { service, team, user } = account
    const { issuer, subject } = session.person
    const obstacles = await readObstacles(tx, account, session.person)
    if (typeof obstacles === 'string') return { fault: obstacles }
    if (!(await useUp(tx, ticket))) return { fault: 'used' }
    const signedIn = await sessions.handOver(tx, session)
    if (!signedIn || !isSameParty(signedIn.person, session.person)) throw new SignedOut()
    // By their ids: what somebody else has bound meanwhile stays, and lets the next statement fail.
    await tx.query('DELETE FROM chat_link WHERE id = ANY($1)', [obstacles])
    const row = sign({ id: randomUUID(), service, team, account: user, issuer, subject }, signedIn)
    await tx.query(
      `INSERT INTO chat_link (id, service, team, account, issuer, subject, linked_at, sealed, kid, mac)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
      [row.id, service, team, user, issuer, subject, row.linked_at, row.sealed, row.kid, row.mac],
    )
    await within(tx, [entryOf('account_linked', row, { by: session.person, via: 'console' })])
    return { link: toLink({ row, signedIn }) }
  }

  function sign(facts: Omit<Row, 'linked_at' | 'sealed' | 'kid' | 'mac'>, signedIn: SignedIn): Row {
    const row = { ...facts, linked_at: new Date(clock.now()) }
    return { ...row, sealed: seal(row, signedIn), ...computeMac(keys.mac, LABEL, macParts(row)) }
  }

  /** With the groups the identity provider gave; null if its people are no longer asked at all. */
  function personOf({ row, signedIn }: Genuine): Person | null {
    const person = people.standing({ ...signedIn.person, assurance: 'oidc' })
    return person && { ...person, assurance: assuranceOf(row), authenticatedAt: null }
  }

  return {
    async find(account) {
      const found = await readOf(account)
      if (!found) return { fault: 'unlinked' }
      try {
        const current = isFresh(found) ? found : await renew(account, found)
        const person = current && personOf(current)
        return person ? { person } : { fault: current ? 'unlinked' : 'stale' }
      } catch (error) {
        if (!(error instanceof GatewayError) || error.code !== 'upstream') throw error
        log.warn({ err: error }, 'the identity provider of a linked chat account could not be asked')
        return { fault: 'away' }
      }
    },

    async standing(voter) {
      const found = await read(database, 'service = $1 AND issuer = $2 AND subject = $3', [
        voter.assurance,
        voter.issuer,
        voter.subject,
      ])
      const [link] = found
      const person = link && personOf(link)
      return person ? { ...voter, groups: person.groups, roles: person.roles } : null
    },

    async hasAccount({ service, team }, { issuer, subject }) {
      const where = 'service = $1 AND team = $2 AND issuer = $3 AND subject = $4'
      return (await read(database, where, [service, team, issuer, subject])).length > 0
    },

    async list(person) {
      const found = await (person
        ? read(database, 'issuer = $1 AND subject = $2', [person.issuer, person.subject])
        : read(database, 'true', []))
      return found.map(toLink)
    },

    async bind(how) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await bindOnce(how)
        } catch (error) {
          // Somebody else's was first: now it can be seen whose.
          if (sqlState(error) !== '23505' || attempt === ATTEMPTS) throw error
        }
      }
    },

    async unlink({ id, by, via }) {
      return database.transaction(async (tx) => {
        const [found] = await read(tx, 'id = $1', [id])
        const isAllowed = found && (isSameParty(found.row, by) || by.roles.includes('admin'))
        if (!isAllowed) return false
        const { rowCount } = await tx.query('DELETE FROM chat_link WHERE id = $1', [id])
        if (rowCount !== 1) return false
        await within(tx, [entryOf('account_unlinked', found.row, { by, via })])
        return true
      })
    },

    sweep: () => forgetUsed(database),
  }
}

/** Undoes the transaction: the session ended, or is being asked about, between the page and its form. */
class SignedOut extends Error {}

function macParts(row: Omit<Row, 'sealed' | 'kid' | 'mac'>): string[] {
  const { id, service, team, account, issuer, subject, linked_at: linkedAt } = row
  return [id, service, team, account, issuer, subject, String(linkedAt.getTime())]
}

function toLink({ row, signedIn }: Genuine): ChatLink {
  const { id, service, team, account: user, issuer, subject } = row
  return {
    id,
    account: { service, team, user },
    person: { issuer, subject, name: signedIn.person.name },
    linkedAt: row.linked_at.getTime(),
  }
}

/** A vote is as good as the account it came through. */
function assuranceOf({ service }: Row): Person['assurance'] {
  return service === 'teams' ? 'teams' : 'slack'
}

/** Names the account as a party of its service: like every name it can be erased. */
function entryOf(kind: Kind, row: Row, { by, via }: { by: Person; via: string }): Entry {
  const { id, service, team, account, issuer, subject } = row
  const nobody = { actors: [], owner: null, groups: [], client: null, expiresAt: 0 }
  return {
    kind,
    principal: { issuer: service, subject: `${team}/${account}`, onBehalfOf: { issuer, subject }, ...nobody },
    reviewer: by,
    detail: { link: id, assurance: by.assurance, via },
  }
}
