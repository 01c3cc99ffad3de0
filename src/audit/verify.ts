import { commitmentOf, entryHash, GENESIS, leafHash } from './chain.ts'
import { type BodyFields, createPromiseCheck } from './promises.ts'
import type { LogRow } from './rows.ts'
import type { Head } from './store.ts'
import { createWriterCounters } from './writer-counters.ts'

/** What can be found, each with the exit code of `audit verify`; 0 is an intact log. */
export const EXIT_CODES = {
  intact: 0,
  /** An entry is not what was chained: its body, its hash, a column, a personal value. */
  altered: 10,
  /** Entries are missing in the middle, or at the beginning. */
  gap: 11,
  /** Entries are missing at the end: a signed head is further. */
  truncated: 12,
  /** The chain agrees with itself, and is another one than was signed. */
  forked: 13,
  /** The chain agrees with itself, and no signed head of an entry that it holds says that it is the one that was written. */
  unanchored: 14,
  /** The log is as it was written, and shows that a promise of the gateway was broken. */
  violated: 15,
} as const
export type Verdict = keyof typeof EXIT_CODES
export type Fault = Exclude<Verdict, 'intact'>

export interface Finding {
  readonly fault: Fault
  /** The first entry concerned. */
  readonly seq: number
  readonly what: string
}

export interface Report {
  /** The first finding's fault; `intact` if there is none. */
  readonly verdict: Verdict
  readonly exitCode: number
  /** In the order of the log, the first hundred. */
  readonly findings: readonly Finding[]
  readonly findingCount: number
  readonly entries: number
  /** The last entry that was read, and the chain's hash there; null if the log is empty. */
  readonly last: Head | null
  /** Up to which entry a signed head vouches for the log; 0 if none does. */
  readonly anchoredSeq: number
}

/** A head that the log is compared with: it must have that entry. */
export interface Witness extends Head {
  /** Which one it is, for findings. */
  readonly name: string
  /** Whether its signature was checked: nothing else vouches for a log. */
  readonly isSigned: boolean
  /** Made after the rows were copied from the log: they need not go on to it. */
  readonly isLater: boolean
}

export interface VerifyOptions {
  readonly witnesses: readonly Witness[]
  /** Asked before the first and after the last row: where the store, or an export, says that the chain ends. */
  readonly storeHead?: () => Promise<Head>
  /** The entry after which the rows begin, if that is not the beginning. */
  readonly start?: Head
  readonly onProgress?: (done: { readonly entries: number; readonly seq: number }) => void
}

const MAX_FINDINGS = 100
const PROGRESS_ENTRIES = 5_000

/**
 * Recomputes a log from its stored bytes, in one pass and constant memory. Rows may come from the store or from an
 * export. Throws only what reading the rows throws: whatever is wrong with the log itself is a finding.
 */
export async function verifyLog(
  rows: AsyncIterable<LogRow> | Iterable<LogRow>,
  options: VerifyOptions,
): Promise<Report> {
  const { witnesses, storeHead, onProgress } = options
  const start = options.start ?? { seq: 0, hash: GENESIS }
  const findings = collectFindings()
  const chain = followChain(start, findings.add)
  const contents = checkContents(start.seq === 0, findings.add)
  const before = await storeHead?.()
  let entries = 0

  for await (const row of rows) {
    chain.next(row)
    contents.next(row)
    for (const { seq, hash, name } of witnesses) {
      if (row.seq !== seq || isEqual(row.hash, hash)) continue
      findings.add('forked', seq, `the entry is another one than ${name} states`)
    }
    if (before && row.seq === before.seq && !isEqual(row.hash, before.hash)) {
      findings.add('altered', row.seq, 'the entry is not the one that is said to be the end of the chain')
    }
    entries++
    if (entries % PROGRESS_ENTRIES === 0) onProgress?.({ entries, seq: row.seq })
  }

  const last = chain.last()
  onProgress?.({ entries, seq: last.seq })
  const stated = witnesses.filter(({ isLater }) => !isLater).map(({ seq }) => seq)
  const statedSeq = Math.max(0, before?.seq ?? 0, ...stated)
  if (last.seq < statedSeq) {
    findings.add('truncated', last.seq + 1, `the log ends at ${last.seq} and went on to ${statedSeq}`)
  }
  const after = await storeHead?.()
  if (after && last.seq > after.seq) {
    findings.add('altered', after.seq + 1, 'entries stand behind what is said to be the end of the chain')
  }
  const held = witnesses.filter(({ isSigned, seq }) => isSigned && seq > start.seq && seq <= last.seq)
  if (findings.count() === 0 && held.length === 0) {
    findings.add('unanchored', start.seq + 1, 'no signed head vouches for it, or for what follows')
  }
  const verdict = findings.first()?.fault ?? 'intact'
  return {
    verdict,
    exitCode: EXIT_CODES[verdict],
    findings: findings.list,
    findingCount: findings.count(),
    entries,
    last: entries > 0 ? last : null,
    anchoredSeq: findings.count() === 0 ? Math.max(0, ...held.map(({ seq }) => seq)) : 0,
  }
}

type AddFinding = (fault: Fault, seq: number, what: string) => void

function collectFindings() {
  const list: Finding[] = []
  let total = 0
  return {
    list,
    count: () => total,
    first: () => list[0],
    add(fault: Fault, seq: number, what: string): void {
      total++
      if (list.length < MAX_FINDINGS) list.push({ fault, seq, what })
    },
  }
}

/** The numbers and the hashes. */
function followChain(start: Head, add: AddFinding) {
  let last: Head = start
  // After an entry whose hash is wrong, the next one may have been chained to what it should be.
  let rival: Buffer | null = null

  return {
    last: () => last,
    next({ seq, body, hash }: LogRow): void {
      const stored = Buffer.from(hash)
      const leaf = leafHash(body)
      if (seq === last.seq + 1) {
        const computed = entryHash(last.hash, leaf)
        const isRight = computed.equals(stored) || (rival !== null && entryHash(rival, leaf).equals(stored))
        if (!isRight) add('altered', seq, 'its hash does not follow from its body and the entry before')
        rival = isRight ? null : computed
      } else if (seq > last.seq) {
        // What it was chained to is missing, so that its own hash cannot be checked.
        add('gap', last.seq + 1, seq === last.seq + 2 ? 'the entry is missing' : `entries up to ${seq - 1} are missing`)
        rival = null
      } else {
        add('altered', seq, `it comes after entry ${last.seq}`)
        return
      }
      last = { seq, hash: stored }
    },
  }
}

/** What the bodies say: that they are entries, agree with their columns and values, and keep the promises. */
function checkContents(isWhole: boolean, add: AddFinding) {
  const promises = createPromiseCheck(isWhole)
  const counters = createWriterCounters()

  return {
    next({ seq, body, columns, personal = [] }: LogRow): void {
      for (const { commitment, field, salt, value } of personal) {
        if (isEqual(commitmentOf(salt, value), commitment)) continue
        add('altered', seq, `the ${field} stored beside the chain is not the one that was chained`)
      }
      promises.learn(personal)

      const fields = parseBody(body)
      if (!fields) {
        add('altered', seq, 'its body is no entry')
        return
      }
      const column = columns && findDifference(columns, fields)
      if (column) add('altered', seq, `its column ${column} differs from its body`)
      const { writer, n, retry } = fields
      const isNew = typeof writer === 'string' && typeof n === 'number' && counters.note(writer, n)
      if (!isNew && retry !== true) add('altered', seq, 'it repeats an entry of its writer')
      const broken = promises.follow(fields)
      if (broken) add('violated', seq, broken)
    },
  }
}

type Body = BodyFields & Readonly<Record<string, unknown>>

function parseBody(body: Uint8Array): Body | null {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'))
    // Every member is checked where it is used.
    return typeof parsed === 'object' && parsed !== null && 'v' in parsed && parsed.v === 1 ? (parsed as Body) : null
  } catch {
    return null
  }
}

/** The first column that does not repeat its member of the body; null if all do. */
function findDifference(columns: Readonly<Record<string, string | null>>, body: Body): string | null {
  for (const name in columns) {
    const member = body[name]
    let expected = member === undefined ? null : String(member)
    // A column of Postgres has microseconds, an entry milliseconds.
    if (name === 'at') expected = `${String(member).slice(0, -1)}000Z`
    if (columns[name] !== expected) return name
  }
  return null
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
