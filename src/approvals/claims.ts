import type { Approval, Claim } from '../domain/approval.ts'
import { canonicalJson } from '../domain/canonical.ts'
import { CLAIM_MS, type ClaimFault, type ClaimRequest, type ClaimResult } from '../domain/claim.ts'
import { isEntitled } from '../domain/entitlement.ts'
import { GatewayError } from '../domain/error.ts'
import { isInClosure, isSameParty, type Person } from '../domain/principal.ts'
import type { Tx } from '../platform/database.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'
import { type DelegationRow, findStandIn, readStandIns } from './delegations.ts'
import { claimedEntry, claimReleasedEntry } from './entries.ts'
import type { Ground } from './ground.ts'
import { momentOf } from './quorum.ts'
import { maySee } from './read.ts'
import type { ApprovalRow } from './row.ts'
import { announce, approvalOf, type Held, isOverdue, readHeld, readNow } from './store.ts'

/** The first schema that knows of claims; with an older one nobody claims anything. */
const SCHEMA = 12

/** A second press within so long is the first one again. */
const SAME_MS = 60_000

interface ClaimFacts {
  readonly issuer: string
  readonly subject: string
  readonly name: string | null
  readonly via: string
  readonly at: Date
  readonly until: Date
}

interface ClaimRow extends ClaimFacts {
  readonly approval: string
  readonly kid: string
  readonly mac: Buffer
}

type Bound = Pick<ApprovalRow, 'id' | 'digest'>

/** "I am looking at this": for the others to see, and for nothing else. It ends by itself. */
export interface Claims {
  /** Takes it, from whoever has it; or takes it for longer. Throws `GatewayError` in a store that knows no claims. */
  claim(request: ClaimRequest): Promise<ClaimResult>
  /** Lets it go; only who has it does. */
  release(request: ClaimRequest): Promise<ClaimResult>
  /** The same approvals, each with its claim if it has one now. */
  addTo(approvals: readonly Approval[]): Promise<readonly Approval[]>
}

export function createClaims(ground: Ground): Claims {
  const { database, keys, hasSchema } = ground

  async function turn(way: 'claim' | 'release', { approval: id, by, via }: ClaimRequest): Promise<ClaimResult> {
    if (!(await hasSchema(database, SCHEMA)))
      throw new GatewayError('store', 'the store knows no claims yet: run countersign migrate')
    return database.transaction(async (tx) => {
      const held = await readHeld(tx, keys, { id, lock: true })
      const now = await readNow(tx)
      const standIns = await readStandIns(ground, tx, by)
      const fault = findFault(held, { by, standIns, now })
      if (!held || fault) return { done: false, fault: fault ?? 'not_found' }
      const before = await readClaim(tx, keys.mac, { row: held.row, now })
      const isOwn = before !== null && isSameParty(before, by)
      if (way === 'release' && before && !isOwn) return { done: false, fault: 'not_claimant' }
      const isSame = way === 'claim' ? isOwn && now.getTime() - before.at.getTime() < SAME_MS : !before
      if (isSame) return { done: true, isChanged: false, approval: shown(held, before) }

      const after = way === 'claim' ? await write(tx, held.row, { by, via, now }) : null
      if (!after) await tx.query('DELETE FROM claim WHERE approval = $1', [id])
      await announce(tx, [id])
      const entry = after
        ? claimedEntry(held.row, { by, via, until: after.until, isTakenOver: before !== null && !isOwn })
        : claimReleasedEntry(held.row, { by, via })
      await ground.within(tx, [entry])
      return { done: true, isChanged: true, approval: shown(held, after) }
    })
  }

  function findFault(
    held: Held | null,
    { by, standIns, now }: { by: Person; standIns: readonly DelegationRow[]; now: Date },
  ): ClaimFault | null {
    if (!held?.isGenuine || !maySee(held, { person: by, standIns, now })) return 'not_found'
    const { row, votes } = held
    if (isInClosure(row.requester, by)) return 'self_approval'
    const moment = momentOf({ at: now }, row.created_at)
    const isNamed = row.requirements.some((requirement) => isEntitled(requirement, by, moment))
    if (!isNamed && !findStandIn(row, { person: by, standIns, votes, now })) return 'not_entitled'
    const isOpen = row.state === 'pending' && !isOverdue(row, now) && !ground.ended.has(row.id)
    return isOpen ? null : 'already_decided'
  }

  async function write(
    tx: Tx,
    row: ApprovalRow,
    { by, via, now }: { by: Person; via: string; now: Date },
  ): Promise<ClaimFacts> {
    const { issuer, subject, name } = by
    const until = new Date(Math.min(now.getTime() + CLAIM_MS, row.expires_at.getTime()))
    const facts = { issuer, subject, name, via, at: now, until }
    const { kid, mac } = computeMac(keys.mac, MAC_LABEL, macParts(row, facts))
    await tx.query(
      `INSERT INTO claim (approval, issuer, subject, name, via, at, until, kid, mac)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
       ON CONFLICT (approval) DO UPDATE SET issuer = EXCLUDED.issuer, subject = EXCLUDED.subject, name = EXCLUDED.name,
         via = EXCLUDED.via, at = EXCLUDED.at, until = EXCLUDED.until, kid = EXCLUDED.kid, mac = EXCLUDED.mac`,
      [row.id, issuer, subject, name, via, now, until, kid, mac],
    )
    return facts
  }

  return {
    claim: (request) => turn('claim', request),
    release: (request) => turn('release', request),
    async addTo(approvals) {
      const pending = approvals.filter(({ state }) => state === 'pending').map(({ id }) => id)
      if (pending.length === 0 || !(await hasSchema(database, SCHEMA))) return approvals
      const { rows } = await database.query<ClaimRow>(
        'SELECT * FROM claim WHERE approval = ANY($1) AND until > clock_timestamp()',
        [pending],
      )
      const claims = new Map(rows.map((row) => [row.approval, row]))
      return approvals.map((approval) => {
        const row = claims.get(approval.id)
        const bound = { id: approval.id, digest: Buffer.from(approval.digest, 'hex') }
        const isIts = row !== undefined && approval.state === 'pending' && isGenuine(keys.mac, bound, row)
        return isIts ? { ...approval, claim: toClaim(row) } : approval
      })
    },
  }
}

function shown(held: Held, claim: ClaimFacts | null): Approval {
  const approval = approvalOf(held)
  return claim ? { ...approval, claim: toClaim(claim) } : approval
}

/** The one in force; null also if somebody else wrote it. */
async function readClaim(
  tx: Tx,
  keys: KeyPair<SecretKey>,
  { row, now }: { row: ApprovalRow; now: Date },
): Promise<ClaimRow | null> {
  const { rows } = await tx.query<ClaimRow>('SELECT * FROM claim WHERE approval = $1 AND until > $2', [row.id, now])
  const [claim] = rows
  return claim && isGenuine(keys, row, claim) ? claim : null
}

const MAC_LABEL = 'countersign claim v1'

function isGenuine(keys: KeyPair<SecretKey>, approval: Bound, claim: ClaimRow): boolean {
  return isValidMac(keys, MAC_LABEL, macParts(approval, claim), claim)
}

function macParts({ id, digest }: Bound, claim: ClaimFacts): (string | Uint8Array)[] {
  return [
    id,
    digest,
    canonicalJson([claim.issuer, claim.subject, claim.name]),
    claim.via,
    String(claim.at.getTime()),
    String(claim.until.getTime()),
  ]
}

function toClaim({ issuer, subject, name, via, at, until }: ClaimFacts): Claim {
  return { reviewer: { issuer, subject, name }, via, at: at.getTime(), until: until.getTime() }
}
