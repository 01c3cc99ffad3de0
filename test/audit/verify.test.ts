import { appendFile, copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { entryHash, GENESIS, leafHash } from '../../src/audit/chain.ts'
import { readExport, readStatement, writeExport } from '../../src/audit/export.ts'
import { type HeadFile, parseHeadFile, readHeadFile, signHead, writeHeadFile } from '../../src/audit/head.ts'
import { readRows, readStoreHead } from '../../src/audit/rows.ts'
import { readState } from '../../src/audit/store.ts'
import { takeStatement } from '../../src/audit/take-statement.ts'
import { type Report, verifyLog, type Witness } from '../../src/audit/verify.ts'
import type { Entry } from '../../src/domain/entry.ts'
import type { Tx } from '../../src/platform/database.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import {
  AGENT,
  copyDatabase,
  damage,
  intentOf,
  keys,
  openGateway,
  openScratch,
  outcomeOf,
  temporaryDirectory,
} from './world.ts'

let original: { database: TestDatabase; path: string; remove(): Promise<void> }
let tx: Tx
let dir: { path: string; remove(): Promise<void> }
let heldCall: string

const PEOPLE = 'https://people.example.com'
const APPROVAL = 'ABCDEFGH12'
const ENTRY = 'countersign.audit_entry'

/** Eighteen entries: six calls that were allowed, and one that two people approved. */
beforeAll(async () => {
  const database = await createTestDatabase()
  original = { database, ...(await temporaryDirectory()) }
  heldCall = newCallId()
  const gateway = await openGateway({ url: database.url, dataDir: original.path })
  const { audit } = gateway
  for (let call = 0; call < 6; call++) {
    const { callId } = await audit.intent(intentOf())
    await audit.append(outcomeOf(callId))
  }
  const about = { approvalId: APPROVAL, callId: heldCall, principal: AGENT }
  const voteOf = (subject: string): Entry => ({
    kind: 'vote',
    approvalId: APPROVAL,
    reviewer: { issuer: PEOPLE, subject },
    detail: { decision: 'approve' },
  })
  await audit.intent(intentOf({ callId: heldCall, verb: 'POST', effect: 'hold' }))
  for (const entries of [
    [{ ...about, kind: 'held' } as const],
    [voteOf('rita')],
    [voteOf('raul')],
    [{ ...about, kind: 'spent', detail: { quorum: 2 } } as const],
  ]) {
    await gateway.database.transaction((tx) => audit.within(tx, entries))
  }
  await audit.append(outcomeOf(heldCall, { approvalId: APPROVAL }))
  await gateway.guard.persist()
  await gateway.close()
})
afterAll(async () => {
  await original.database.close()
  await original.remove()
})
beforeEach(async () => {
  dir = await temporaryDirectory()
  await copyFile(join(original.path, 'head.json'), join(dir.path, 'head.json'))
})
afterEach(async () => {
  await dir.remove()
})

/** Each test damages the log in a transaction that is rolled back. */
function inScratch(): void {
  let scratch: Awaited<ReturnType<typeof openScratch>>
  beforeEach(async () => {
    scratch = await openScratch(original.database.adminUrl)
    tx = scratch.tx
  })
  afterEach(() => scratch.close())
}

/** Each test has a database of its own, to which gateways can append. */
function inCopy(): { readonly url: () => string } {
  let copy: Awaited<ReturnType<typeof copyDatabase>>
  beforeEach(async () => {
    copy = await copyDatabase(original.database)
    tx = copy.database
    // A gateway takes a copy for what it is, another store: this one gets a record of its own.
    const state = await readState(tx, 0)
    await writeHeadFile(join(dir.path, 'head.json'), { ...state, atMs: Date.now() }, keys.checkpoint)
  })
  afterEach(() => copy.close())
  return { url: () => copy.url }
}

async function verify(options: { withHead?: boolean } = {}): Promise<Report> {
  const witnesses = options.withHead === false ? [] : await signedHead()
  return await verifyLog(readRows(tx), { witnesses, storeHead: () => readStoreHead(tx) })
}

/** What the gateway has signed. */
async function signedHead(how: Partial<Witness> = {}): Promise<readonly Witness[]> {
  const head = await readHeadFile(join(dir.path, 'head.json'), keys.checkpoint)
  return head ? [{ ...head, name: 'the head', isSigned: true, isLater: false, ...how }] : []
}

/** Exports the log as it is, with the head of the data directory. Returns how many entries there are. */
async function exportTo(path: string, { withPersonal = true } = {}): Promise<number> {
  const head = parseHeadFile(await readFile(join(dir.path, 'head.json'), 'utf8'))
  return await writeExport(readRows(tx), path, { end: await readStoreHead(tx), head, withPersonal })
}

/** A head that states this entry. */
async function headAt(seq: number): Promise<HeadFile> {
  const { rows } = await tx.query<{ hash: Buffer }>(`SELECT hash FROM ${ENTRY} WHERE seq = $1`, [seq])
  const hash = rows[0]?.hash ?? expect.fail(`there is an entry ${seq}`)
  return parseHeadFile(signHead({ ...(await readState(tx, 0)), seq, hash, atMs: 0 }, keys.checkpoint))
}

/** The store as it is while entries come: the first question finds fewer than the next. */
function growing(store: Tx, { from, to }: { from: number; to: number }): Tx {
  let seq = from
  return {
    async query<Row extends object>(sql: string, params?: readonly unknown[]) {
      const { rows, rowCount } = await store.query<Row>(sql, params)
      const grown = rows.map((row) => ({ ...row, seq }))
      seq = to
      return { rows: grown, rowCount }
    },
  }
}

/** Gives every entry from `fromSeq` on the hash that follows from its body: what hides an edit from a mere chain. */
async function rechain(fromSeq: number): Promise<void> {
  const { rows } = await tx.query<{ seq: number; body: Buffer; hash: Buffer }>(
    `SELECT seq, body, hash FROM ${ENTRY} ORDER BY seq`,
  )
  let link = GENESIS
  const statements: string[] = []
  for (const { seq, body, hash } of rows) {
    link = seq < fromSeq ? hash : entryHash(link, leafHash(body))
    statements.push(`UPDATE ${ENTRY} SET hash = '\\x${link.toString('hex')}' WHERE seq = ${seq}`)
  }
  const last = rows.at(-1)?.seq ?? 0
  statements.push(`UPDATE countersign.audit_head SET seq = ${last}, hash = '\\x${link.toString('hex')}'`)
  await damage(tx, ...statements)
}

const EDIT_BODY = `UPDATE ${ENTRY} SET body = convert_to(replace(convert_from(body, 'UTF8'), 'GET', 'PUT'), 'UTF8')`

describe('a log as it was written', () => {
  inScratch()

  it('is intact, up to the head that was signed', async () => {
    expect(await verify()).toMatchObject({ verdict: 'intact', exitCode: 0, entries: 18, anchoredSeq: 18, findings: [] })
  })

  it('is called unanchored when there is nothing signed to compare it with', async () => {
    expect(await verify({ withHead: false })).toMatchObject({ verdict: 'unanchored', exitCode: 14 })
  })

  it('is intact after somebody was erased', async () => {
    await tx.query(`SELECT countersign.erase_personal('https://idp.example.com|agent-7')`)
    expect(await verify()).toMatchObject({ verdict: 'intact' })
  })

  it('tells how far it is', async () => {
    const seen: number[] = []
    await verifyLog(readRows(tx), { witnesses: [], onProgress: ({ entries }) => seen.push(entries) })
    expect(seen).toEqual([18])
  })
})

describe('a log that an administrator damaged', () => {
  inScratch()

  it.each<[string, readonly string[], string, number]>([
    ['a body', [`${EDIT_BODY} WHERE seq = 5`], 'altered', 5],
    [
      'a body and its column',
      [`${EDIT_BODY} WHERE seq = 5`, `UPDATE ${ENTRY} SET verb = 'PUT' WHERE seq = 5`],
      'altered',
      5,
    ],
    ['a query column', [`UPDATE ${ENTRY} SET resource = '/other' WHERE seq = 5`], 'altered', 5],
    ['a time', [`UPDATE ${ENTRY} SET at = at + interval '1 microsecond' WHERE seq = 7`], 'altered', 7],
    ['a commitment column', [`UPDATE ${ENTRY} SET owner = sha256('x') WHERE seq = 3`], 'altered', 3],
    ['a column that was empty', [`UPDATE ${ENTRY} SET reviewer_group = 'x' WHERE seq = 3`], 'altered', 3],
    ['a hash', [`UPDATE ${ENTRY} SET hash = sha256('x') WHERE seq = 5`], 'altered', 5],
    ['the last hash', [`UPDATE ${ENTRY} SET hash = sha256('x') WHERE seq = 18`], 'altered', 18],
    ['no JSON', [`UPDATE ${ENTRY} SET body = '\\xff00' WHERE seq = 5`], 'altered', 5],
    ['a missing row', [`DELETE FROM ${ENTRY} WHERE seq = 9`], 'gap', 9],
    ['a missing beginning', [`DELETE FROM ${ENTRY} WHERE seq < 4`], 'gap', 1],
    ['a missing end', [`DELETE FROM ${ENTRY} WHERE seq > 16`], 'truncated', 17],
    [
      'two rows that changed places',
      [
        `UPDATE ${ENTRY} SET seq = 1000 WHERE seq = 5`,
        `UPDATE ${ENTRY} SET seq = 5 WHERE seq = 6`,
        `UPDATE ${ENTRY} SET seq = 6 WHERE seq = 1000`,
      ],
      'altered',
      5,
    ],
    ['a dropped partition', ['DROP TABLE countersign.audit_entry_000000'], 'truncated', 1],
    [
      'a row at the end that was never appended',
      [`INSERT INTO ${ENTRY} (seq, at, kind, body, hash) SELECT 19, at, kind, body, hash FROM ${ENTRY} WHERE seq = 1`],
      'altered',
      19,
    ],
  ])('shows %s', async (_, statements, verdict, seq) => {
    await damage(tx, ...statements)
    const report = await verify()
    expect(report.verdict).toBe(verdict)
    expect(report.exitCode).toBeGreaterThan(0)
    expect(report.findings[0]).toMatchObject({ fault: verdict, seq })
    expect(report.anchoredSeq).toBe(0)
  })

  it('shows only the one row whose hash was replaced, not all that follow', async () => {
    await damage(tx, `UPDATE ${ENTRY} SET hash = sha256('x') WHERE seq = 5`)
    expect((await verify()).findings).toHaveLength(1)
  })

  it('shows an edit whose chain was recomputed to the end', async () => {
    await damage(tx, `${EDIT_BODY} WHERE seq = 5`, `UPDATE ${ENTRY} SET verb = 'PUT' WHERE seq = 5`)
    await rechain(5)
    expect(await verify()).toMatchObject({ verdict: 'forked', exitCode: 13, findings: [{ seq: 18 }] })
    expect(await verify({ withHead: false })).toMatchObject({ verdict: 'unanchored' })
  })

  it('shows a cut-off end whose head was set back too', async () => {
    await damage(
      tx,
      `DELETE FROM ${ENTRY} WHERE seq > 16`,
      `UPDATE countersign.audit_head SET seq = 16, hash = (SELECT hash FROM ${ENTRY} WHERE seq = 16)`,
    )
    expect(await verify()).toMatchObject({ verdict: 'truncated', exitCode: 12, findings: [{ seq: 17 }] })
  })

  it('shows a value that was exchanged beside the chain', async () => {
    await damage(
      tx,
      `UPDATE countersign.audit_personal SET value = 'https://people.example.com|mallory' WHERE value LIKE '%rita'`,
    )
    const report = await verify()
    expect(report.verdict).toBe('altered')
    expect(report.findings[0]?.what).toContain('party')
  })

  it.each([
    ['one vote', 'seq = 15', 'with 1 of the 2 approvals'],
    ['all votes', `kind = 'vote'`, 'with 0 of the 2 approvals'],
    ['the spend', `kind = 'spent'`, 'forwarded after 0 spends'],
    ['an intent', 'seq = 3', 'without an intent'],
  ])('shows that %s is gone, even where numbers and hashes were made anew', async (_, which, what) => {
    await damage(
      tx,
      `DELETE FROM ${ENTRY} WHERE ${which}`,
      `UPDATE ${ENTRY} e SET seq = 100 + n.nth FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS nth FROM ${ENTRY}) n
       WHERE n.seq = e.seq`,
      `UPDATE ${ENTRY} SET seq = seq - 100`,
    )
    await rechain(1)
    const report = await verify({ withHead: false })
    expect(report).toMatchObject({ verdict: 'violated', exitCode: 15 })
    expect(report.findings[0]?.what).toContain(what)
    expect((await verify()).verdict).not.toBe('intact')
  })
})

describe('a log that shows a broken promise', () => {
  const at = inCopy()

  async function append(...entries: Parameters<typeof outcomeOf>[1][]) {
    const gateway = await openGateway({ url: at.url(), dataDir: dir.path })
    // Each has a kind; the type of the helper's second argument leaves it optional.
    for (const entry of entries) await gateway.audit.append(entry as never)
    await gateway.close()
  }
  const approvalId = 'ZZZZZZZZ99'
  const opened = () => ({ kind: 'held', approvalId, callId: heldCall, principal: AGENT }) as const
  const votedBy = (issuer: string, subject: string, decision = 'approve') =>
    ({ kind: 'vote', approvalId, reviewer: { issuer, subject }, detail: { decision } }) as const
  const spend = () => ({ kind: 'spent', approvalId, callId: heldCall, detail: { quorum: 1 } }) as const

  it.each([
    ['the agent', 'agent-7'],
    ['the person it acts for', 'alice'],
    ['its owner', 'olga'],
  ])('finds a spend that %s approved', async (_, subject) => {
    await append(opened(), votedBy(AGENT.issuer, subject), spend())
    expect(await verify()).toMatchObject({ verdict: 'violated', findings: [{ seq: 21 }] })
  })

  it('finds a second spend of one approval', async () => {
    await append(opened(), votedBy(PEOPLE, 'rita'), spend(), spend())
    expect(await verify()).toMatchObject({ verdict: 'violated', findings: [{ seq: 22 }] })
  })

  it('counts a person who changed their mind as what they said last', async () => {
    await append(opened(), votedBy(PEOPLE, 'rita'), votedBy(PEOPLE, 'rita', 'deny'), spend())
    expect(await verify()).toMatchObject({ verdict: 'violated', findings: [{ seq: 22 }] })
  })

  it('counts one person once, though two gateways made two commitments of the name', async () => {
    const { guard, close, audit, database } = await openGateway({ url: at.url(), dataDir: dir.path })
    await guard.persist()
    // A second gateway that starts before the first one has named anybody new does not know of that name.
    const second = await openGateway({ url: at.url(), dataDir: dir.path })
    await audit.append(opened())
    await audit.append(votedBy(PEOPLE, 'newcomer'))
    await second.audit.append(votedBy(PEOPLE, 'newcomer'))
    await audit.append({ ...spend(), detail: { quorum: 2 } })
    await second.close()
    await close()
    const { rows } = await tx.query(`SELECT FROM countersign.audit_personal WHERE value LIKE '%newcomer'`)
    expect(rows).toHaveLength(2)
    expect(database).toBeDefined()
    expect(await verify()).toMatchObject({
      verdict: 'violated',
      findings: [{ what: expect.stringContaining('1 of the 2') }],
    })
  })

  it('finds a grant that was used more often than it says, after it was revoked, or that nobody gave', async () => {
    const about = (kind: 'granted' | 'grant_used' | 'grant_revoked', grant: string, more = {}) =>
      ({ kind, approvalId, reviewer: { issuer: PEOPLE, subject: 'rita' }, detail: { grant, ...more } }) as const
    const given = (grant: string) => about('granted', grant, { most_uses: 1 })
    await append(
      ...[given('G1'), about('grant_used', 'G1'), about('grant_used', 'G1')],
      ...[given('G2'), about('grant_revoked', 'G2'), about('grant_used', 'G2')],
      ...[about('grant_used', 'G3'), given('G4'), about('grant_used', 'G4')],
    )
    const report = await verify()
    expect(report.findings.map(({ fault, seq }) => [fault, seq])).toEqual([
      ['violated', 21],
      ['violated', 24],
      ['violated', 25],
    ])
  })

  it('finds a denied call that was forwarded, and a call forwarded without an intent', async () => {
    const denied = intentOf({ effect: 'deny' })
    await append(denied, outcomeOf(denied.callId), outcomeOf(newCallId()))
    const report = await verify()
    expect(report.findings.map(({ fault, seq }) => [fault, seq])).toEqual([
      ['violated', 20],
      ['violated', 21],
    ])
  })

  it('finds an entry that repeats another one, unless it is marked as written again', async () => {
    const { rows } = await tx.query<{ body: Buffer }>(`SELECT body FROM ${ENTRY} WHERE seq = 12`)
    const body = rows[0]?.body.toString('utf8') ?? ''
    const marked = body.replace('"upstream"', '"retry":true,"upstream"')
    const append = (text: string) => tx.query('SELECT countersign.append($1, null, null, null, null)', [text])
    await append(marked)
    expect(await verify()).toMatchObject({ verdict: 'intact' })
    await append(body)
    expect(await verify()).toMatchObject({ verdict: 'altered', findings: [{ seq: 20 }] })
  })
})

describe('an export', () => {
  const at = inCopy()

  it('verifies without the store, with and without the personal values', async () => {
    for (const withPersonal of [true, false]) {
      const path = join(dir.path, `entries-${withPersonal}.jsonl`)
      expect(await exportTo(path, { withPersonal })).toBe(18)
      expect((await readFile(path, 'utf8')).includes('rita')).toBe(withPersonal)
      const witnesses = await signedHead()
      expect(await verifyLog(readExport(path), { witnesses })).toMatchObject({ verdict: 'intact', entries: 18 })
    }
  })

  it('says where it ends, and holds what was signed by then', async () => {
    const path = join(dir.path, 'entries.jsonl')
    await exportTo(path)
    const { hash } = await readStoreHead(tx)
    expect(await readStatement(path)).toMatchObject({ end: { seq: 18, hash }, head: { seq: 18 } })
  })

  it('waits until what it holds is signed, and ends there', async () => {
    let looks = 0
    const readHead = async () => (++looks < 3 ? headAt(15) : headAt(17))
    // Another entry is committed, and not signed, while the export begins.
    const { head, end } = await takeStatement(growing(tx, { from: 17, to: 18 }), readHead)
    expect([looks, head?.seq, end.seq]).toEqual([3, 17, 17])
    expect(end.hash.toString('hex')).toBe((await headAt(17)).hash)
  })

  it('holds all that there is where nobody signs it', async () => {
    const { hash } = await readStoreHead(tx)
    for (const head of [await headAt(15), null]) {
      expect(await takeStatement(tx, async () => head, { waitMs: 0 })).toEqual({ head, end: { seq: 18, hash } })
    }
  })

  it('of a store that lacks what was signed keeps the head that says so', async () => {
    const head = { ...(await headAt(18)), seq: 20 }
    expect(await takeStatement(tx, async () => head)).toMatchObject({ head: { seq: 20 }, end: { seq: 18 } })
  })

  it('leaves out what came after it began', async () => {
    const path = join(dir.path, 'entries.jsonl')
    const { rows } = await tx.query<{ hash: Buffer }>(`SELECT hash FROM ${ENTRY} WHERE seq = 12`)
    const end = { seq: 12, hash: rows[0]?.hash ?? expect.fail('there is an entry 12') }
    expect(await writeExport(readRows(tx), path, { end, head: null, withPersonal: true })).toBe(12)
    const storeHead = async () => end
    const witnesses = await signedHead({ isLater: true })
    const report = await verifyLog(readExport(path), { witnesses, storeHead })
    expect(report).toMatchObject({ verdict: 'unanchored', anchoredSeq: 0, entries: 12 })
    // The same rows are a log that was cut off, if they are to be all that there is.
    expect(await verifyLog(readExport(path), { witnesses: await signedHead(), storeHead })).toMatchObject({
      verdict: 'truncated',
      findings: [{ seq: 13 }],
    })
  })

  it('with entries behind its head is vouched for up to there, since anybody can write more', async () => {
    const path = join(dir.path, 'entries.jsonl')
    await exportTo(path)
    const row = (await headAt(18)).hash
    const body = JSON.stringify({ v: 1, kind: 'intent', effect: 'allow', writer: 'me', n: 1, call_id: newCallId() })
    const hash = entryHash(Buffer.from(row, 'hex'), leafHash(Buffer.from(body))).toString('hex')
    await appendFile(path, `${JSON.stringify({ seq: 19, hash, body })}\n`)
    const witnesses = await signedHead()
    expect(await verifyLog(readExport(path), { witnesses, mustBeSignedWhole: true })).toMatchObject({
      verdict: 'unanchored',
      exitCode: 14,
      findings: [{ seq: 19 }],
      anchoredSeq: 18,
    })
  })

  it('shows an edited line, and a line that is none', async () => {
    const path = join(dir.path, 'entries.jsonl')
    await exportTo(path)
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.replace('\\"verb\\":\\"GET\\"', '\\"verb\\":\\"PUT\\"'))
    expect(await verifyLog(readExport(path), { witnesses: [] })).toMatchObject({
      verdict: 'altered',
      findings: [{ seq: 1 }],
    })
    for (const added of ['{"seq": 19}\n', text]) {
      await writeFile(path, `${text}${added}`)
      await expect(verifyLog(readExport(path), { witnesses: [] })).rejects.toMatchObject({ code: 'config' })
    }
  })

  it('keeps a body that holds separators of lines', async () => {
    const gateway = await openGateway({ url: at.url(), dataDir: dir.path })
    await gateway.audit.append(intentOf({ resource: '/a\u2028b\u2029c\n\r' }))
    await gateway.close()
    const path = join(dir.path, 'entries.jsonl')
    await exportTo(path)
    const witnesses = await signedHead()
    expect(await verifyLog(readExport(path), { witnesses })).toMatchObject({ verdict: 'intact', entries: 19 })
  })
})
