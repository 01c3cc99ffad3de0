import type { Statement } from '../audit/export.ts'
import type { Report, Witness } from '../audit/verify.ts'
import { counted } from '../domain/counted.ts'

/** What was found, for a person: the verdict with the entries that it is about, then each finding. */
export function* describeReport(report: Report): Generator<string> {
  const { verdict, findings, findingCount, entries, last, anchoredSeq } = report
  const all = range(last?.seq ?? 0)
  if (verdict === 'intact') {
    const rest = anchoredSeq === last?.seq ? '' : '; those after it are chained to it, and no head vouches for them yet'
    yield `intact: ${all}; a signed head vouches for ${range(anchoredSeq)}${rest}`
    return
  }
  if (verdict === 'unanchored' && entries === 0) {
    yield 'unanchored: there are no entries, and no signed head to say how many there were'
    return
  }
  if (verdict === 'unanchored') {
    yield `unanchored: ${all}, agreeing with each other; no signed head vouches for any of them`
    return
  }
  yield `${verdict}: ${counted(findingCount, 'fault')} in ${counted(entries, 'entry', 'entries')}`
  for (const { seq, fault, what } of findings) yield `  entry ${seq}: ${fault}: ${what}`
  if (findingCount > findings.length) yield `  and ${findingCount - findings.length} more`
}

/** What an export says of itself, and what could not be checked with what was at hand: a line each. */
export function describeFile(checked: {
  readonly report: Report
  readonly witnesses: readonly Witness[]
  readonly statement: Statement | null
  readonly isKeyKnown: boolean
}): readonly string[] {
  const { report, witnesses, statement, isKeyKnown } = checked
  const lastSeq = report.last?.seq ?? 0
  const later = witnesses.filter(({ isLater, seq }) => isLater && seq > lastSeq)
  const notes: string[] = []
  for (const { seq, name } of later) {
    notes.push(`the file ends at entry ${lastSeq} of ${seq}: later entries, which ${name} states, are not in it`)
  }
  if (statement === null) notes.push('the file does not say where it ends: it may be a part of an export')
  else if (later.length === 0) {
    notes.push(`the file says that it ends at entry ${statement.end.seq}; what was written later is not in it`)
  }

  const unsigned = witnesses.filter(({ isSigned }) => !isSigned)
  if (witnesses.length === 0) {
    notes.push('not checked: whether these are the entries that were written; there is no signed head, give --head')
  } else if (!isKeyKnown) {
    notes.push('not checked: the signature of the head; give --key with what `audit key` prints, or --config')
  } else
    for (const { name } of unsigned) notes.push(`${name} has no valid signature by the keys given: it proves nothing`)
  return notes
}

function range(lastSeq: number): string {
  return lastSeq === 1 ? 'entry 1' : `entries 1 to ${lastSeq}`
}
